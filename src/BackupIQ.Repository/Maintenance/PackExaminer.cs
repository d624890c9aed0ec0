using BackupIQ.Primitives;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Maintenance;

/// <summary>How deep a pack is looked into, beside its head, contents tables and trailer.</summary>
public enum PackDepth
{
    /// <summary>No further.</summary>
    Contents,

    /// <summary>Its bytes against its name.</summary>
    Hash,

    /// <summary>That, and every chunk opened.</summary>
    Chunks,
}

/// <summary>Examines one pack after the other, with buffers of its own. Not thread-safe.</summary>
public sealed class PackExaminer : IDisposable
{
    private readonly BackupRepository _repository;
    private readonly CheckIndex _index;
    private readonly PackPass _pass;

    internal PackExaminer(BackupRepository repository, CheckIndex index, Action<long> onBytes)
    {
        _repository = repository;
        _index = index;
        _pass = new PackPass(repository) { OnBytes = onBytes };
    }

    /// <summary>
    /// Examines a pack that is there. Where anything is wrong its frames are opened too, so that nothing is accused that can still be read.
    /// </summary>
    /// <exception cref="BackupIQException">The storage cannot be reached.</exception>
    public async Task ExamineAsync(CheckedPack pack, PackDepth depth, CancellationToken cancellationToken)
    {
        try
        {
            PackAnatomy anatomy = await PackAnatomy.ReadAsync(_repository, pack.Kind, pack.Id, pack.Size, cancellationToken);
            PackPlan? plan = Judge(pack, anatomy);
            bool isWhole = true;
            if (plan is null || depth != PackDepth.Contents)
            {
                isWhole = await PassAsync(pack, depth == PackDepth.Chunks ? plan : null, cancellationToken);
            }

            if (plan is null)
            {
                pack.NeedsIndexContents = true;
            }
            else if (depth != PackDepth.Chunks && (!isWhole || pack.IsBroken))
            {
                await PassAsync(pack, plan, cancellationToken);
            }
        }
        catch (BackupIQException e) when (e.Code == ErrorCodes.StorageArchived)
        {
            pack.IsArchived = true;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            pack.Report(e.Code == ErrorCodes.StorageObjectNotFound ? "it is gone" : "the storage cannot read it");
            if (e.Code == ErrorCodes.StorageObjectNotFound)
            {
                pack.Size = -1;
            }
            else
            {
                _index.MarkBadFrames(pack);
            }
        }
    }

    /// <summary>Opens the frames that the index names in a pack whose own contents cannot be read.</summary>
    internal async Task OpenByIndexAsync(CheckedPack pack, PackPlan plan, CancellationToken cancellationToken)
    {
        try
        {
            await PassAsync(pack, plan, cancellationToken);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            pack.Report("the storage cannot read it");
            _index.MarkBadFrames(pack);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _pass.Dispose();

    private PackPlan? Judge(CheckedPack pack, PackAnatomy anatomy)
    {
        foreach (string problem in anatomy.Problems)
        {
            pack.Report(problem);
        }

        if (pack.Numbers.Count > 0 && pack.IndexedSize != (ulong)pack.Size)
        {
            pack.Report($"it has {pack.Size} bytes where the index says {pack.IndexedSize}");
        }

        if (anatomy.Head is not { } head)
        {
            return null;
        }

        pack.Session ??= head.Session;
        if (!_index.HasSalts(pack, head.Salts))
        {
            pack.Report("its salts are not those of the index");
            return null;
        }

        if (anatomy.Contents is not { } contents)
        {
            return null;
        }

        PackPlan plan = PackPlan.Of(head, contents);
        _index.Compare(pack, plan);
        return plan;
    }

    private async Task<bool> PassAsync(CheckedPack pack, PackPlan? plan, CancellationToken cancellationToken)
    {
        _pass.OnBadFrame = (frame, why) =>
        {
            _index.MarkBadFrame(pack, frame);
            pack.Report(why);
        };
        _pass.OnBadChunk = (frame, chunk) =>
        {
            _index.MarkBadChunk(pack, frame, plan!.Chunks[chunk]);
            pack.Report("it holds a chunk whose bytes are not those of its id");
        };
        bool isWhole = await _pass.RunAsync(pack.Kind, pack.Id, plan, cancellationToken);
        if (!isWhole)
        {
            pack.Report("its bytes are not those of its name");
        }

        return isWhole;
    }
}
