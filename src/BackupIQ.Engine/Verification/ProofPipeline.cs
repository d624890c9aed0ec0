using System.Buffers;
using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Verification;

/// <summary>
/// Hears of a file's content from its beginning to its end, proven, in pieces of 1 MiB at most. Of a file that is stored page by page the holes, which are zeros, are
/// left out, and every piece but the last is whole pages.
/// </summary>
public delegate void ContentListener(long offset, ReadOnlySpan<byte> bytes);

/// <summary>Something of a snapshot that does not come back whole.</summary>
/// <param name="Code">The kind of damage.</param>
/// <param name="Path">What it damages; a folder of which a part is lost ends with a slash.</param>
/// <param name="Problem">What is wrong: a sentence or half of one.</param>
public sealed record ProofFinding(ErrorCode Code, byte[] Path, string Problem);

/// <summary>What was looked at.</summary>
/// <param name="Entries">Files, folders and links.</param>
/// <param name="Bytes">Bytes of content: as long as the files are where nothing was read, else what was read.</param>
/// <param name="Packs">Packs that hold it, where that was looked at.</param>
public sealed record ProofCounts(long Entries, long Bytes, int Packs);

/// <summary>
/// Proves one snapshot: that everything it needs is there, or that all of it can be read and is what was backed up. Damage is a finding and no exception. Its files are
/// read by several workers at once.
/// </summary>
public sealed class ProofPipeline : IDisposable
{
    private const int PieceSize = 1 << 20;

    /// <summary>So many findings are kept; all are counted.</summary>
    private const int MostFindings = 1000;

    private readonly BackupRepository _repository;
    private readonly ChunkIndex _index;
    private readonly SnapshotReader _reader;
    private readonly int _workers;
    private readonly List<ProofFinding> _findings = [];
    private long _findingCount;
    private long _entries;
    private long _bytes;

    /// <summary>Reads from a repository.</summary>
    /// <param name="repository">The repository; the caller's.</param>
    /// <param name="index">Its index; the caller's.</param>
    /// <param name="options">How it is read.</param>
    public ProofPipeline(BackupRepository repository, ChunkIndex index, ReadingOptions options)
    {
        _repository = repository;
        _index = index;
        _workers = options.Concurrency > 0 ? options.Concurrency : Math.Clamp(Environment.ProcessorCount, 2, 16);
        _reader = new SnapshotReader(repository, index, options, notice => Report(new ProofFinding(ErrorCodes.CorruptData, "/"u8.ToArray(), notice)));
    }

    /// <summary>What was found, the first thousand.</summary>
    public IReadOnlyList<ProofFinding> Findings
    {
        get
        {
            lock (_findings)
            {
                return [.. _findings];
            }
        }
    }

    /// <summary>How much was found.</summary>
    public long FindingCount => Interlocked.Read(ref _findingCount);

    /// <summary>Bytes that were read so far.</summary>
    public long BytesRead => Interlocked.Read(ref _bytes);

    /// <summary>
    /// Looks every entry up: that the index knows each of its chunks with its length, and that the packs are there in their sizes. Trees and page maps are read for
    /// that; content is not.
    /// </summary>
    /// <param name="snapshot">The snapshot.</param>
    /// <param name="onEntry">Hears of each entry, in order; null: nobody does.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="BackupIQException">The storage cannot be reached.</exception>
    public async Task<ProofCounts> LocateAsync(Snapshot snapshot, Action<byte[], Node>? onEntry, CancellationToken cancellationToken)
    {
        Dictionary<PackId, long> there = await PackListing.ReadSizesAsync(_repository, cancellationToken);
        Dictionary<PackId, long> expected = [];
        foreach ((PackId id, _, long size) in _index.Packs())
        {
            expected[id] = size;
        }

        HashSet<PackId> wrong = [.. expected.Where(one => !there.TryGetValue(one.Key, out long size) || size != one.Value).Select(static one => one.Key)];
        HashSet<PackId> used = [];
        return await Task.Run(() => Locate(snapshot, onEntry, new Presence(there, expected, wrong, used), cancellationToken), cancellationToken);
    }

    /// <summary>
    /// Reads all files: every chunk is opened and compared with its id, and pages with what their map says of them. What <paramref name="listen"/> answers for a file
    /// hears of its content; it is asked for each file in the order of their paths, one at a time, and for different files heard on several threads at once.
    /// </summary>
    /// <exception cref="BackupIQException">The storage cannot be reached.</exception>
    public async Task<ProofCounts> ReadAsync(Snapshot snapshot, Func<byte[], Node, ContentListener?>? listen, CancellationToken cancellationToken)
    {
        long entries = _entries;
        long bytes = BytesRead;
        byte[] key = _repository.Keys.DataIdKey.ToArray();
        await Parallel.ForEachAsync(
            Files(snapshot, listen),
            new ParallelOptions { MaxDegreeOfParallelism = _workers, CancellationToken = cancellationToken },
            async (file, stop) => await ProveAsync(file.Path, file.Node, file.Listener, key, stop));
        return new ProofCounts(_entries - entries, BytesRead - bytes, 0);
    }

    /// <summary>Reads one file of the snapshot, in order, for a listener; false: it is not there, or damaged, which is a finding.</summary>
    public async Task<bool> ReadFileAsync(Snapshot snapshot, byte[] path, ContentListener listener, CancellationToken cancellationToken)
    {
        long before = FindingCount;
        try
        {
            (Node? node, byte[] full) = SnapshotPath.Find(_reader.Trees, snapshot, path);
            if (node?.Metadata.Type == NodeType.File)
            {
                await ProveAsync(full, node, listener, _repository.Keys.DataIdKey.ToArray(), cancellationToken);
                return FindingCount == before;
            }
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e) || e.Code == ErrorCodes.PathNotFound)
        {
            Report(new ProofFinding(e.Code == ErrorCodes.PathNotFound ? ErrorCodes.CorruptData : SnapshotMetadata.DamageCode(e), path, e.Message));
        }

        return false;
    }

    /// <inheritdoc/>
    public void Dispose() => _reader.Dispose();

    private ProofCounts Locate(Snapshot snapshot, Action<byte[], Node>? onEntry, Presence presence, CancellationToken cancellationToken)
    {
        PathWalk walk = Walk(snapshot);
        long entries = 0;
        long bytes = 0;
        while (walk.Next() is { } found)
        {
            cancellationToken.ThrowIfCancellationRequested();
            entries++;
            onEntry?.Invoke(found.Path, found.Node);
            if (found.Node.Metadata.Type != NodeType.File)
            {
                continue;
            }

            try
            {
                SnapshotFile file = _reader.OpenFile(found.Node);
                bytes += file.Length;
                file.Locate((chunk, location) => Require(chunk, location, presence), cancellationToken);
                foreach (ChunkReference sums in found.Node.Content!.Sums)
                {
                    _reader.Locate(PackKind.Metadata, sums.Id);
                }
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                Report(new ProofFinding(SnapshotMetadata.DamageCode(e), found.Path, e.Message));
            }
        }

        return new ProofCounts(entries, bytes, presence.Used.Count);
    }

    // What is in a pack that is gone may be in another one, too.
    private void Require(in ChunkReference chunk, in ChunkLocation location, Presence presence)
    {
        PackId pack = _index.GetFrame(location.Frame).Pack;
        presence.Used.Add(pack);
        if (!presence.Wrong.Contains(pack) || _index.FindAll(PackKind.Data, chunk.Id).Any(other => !presence.Wrong.Contains(_index.GetFrame(other.Frame).Pack)))
        {
            return;
        }

        throw presence.There.TryGetValue(pack, out long size)
            ? new CorruptDataException($"Pack {pack} has {size} bytes, and {presence.Expected[pack]} by the index.")
            : new BackupIQException(ErrorCodes.ChunkMissing, $"Pack {pack}, in which chunk {chunk.Id} lies, is missing.");
    }

    private IEnumerable<(byte[] Path, Node Node, ContentListener? Listener)> Files(Snapshot snapshot, Func<byte[], Node, ContentListener?>? listen)
    {
        PathWalk walk = Walk(snapshot);
        HashSet<ulong> groups = [];
        while (walk.Next() is { } found)
        {
            Interlocked.Increment(ref _entries);

            // Of hard links one is read.
            if (found.Node.Metadata.Type == NodeType.File && (found.Node.HardLinkGroup == 0 || groups.Add(found.Node.HardLinkGroup)))
            {
                yield return (found.Path, found.Node, listen?.Invoke(found.Path, found.Node));
            }
        }
    }

    private async Task ProveAsync(byte[] path, Node node, ContentListener? listener, byte[] key, CancellationToken cancellationToken)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(PieceSize);
        try
        {
            SnapshotFile file = _reader.OpenFile(node);
            if (node.Content!.Kind == ContentKind.Pages)
            {
                await ProvePagesAsync(file, node.Content, listener, buffer, key, cancellationToken);
                return;
            }

            for (long offset = 0; offset < file.Length;)
            {
                int read = await file.ReadAsync(offset, buffer.AsMemory(0, PieceSize), cancellationToken);
                Hear(listener, offset, buffer.AsSpan(0, read));
                offset += read;
            }
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            Report(new ProofFinding(SnapshotMetadata.DamageCode(e), path, e.Message));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private async Task ProvePagesAsync(SnapshotFile file, FileContent content, ContentListener? listener, byte[] buffer, byte[] key, CancellationToken cancellationToken)
    {
        PageMap map = new(_reader.ReadMetadata, content, file.Length);
        for (int number = 0; number < map.BlockCount; number++)
        {
            PageBlock block = map.ReadBlock(number);
            PageDigest digest = default;
            foreach (PageRun run in block.Runs.Where(static run => run.Chunk >= 0))
            {
                for (int done = 0; done < run.Count;)
                {
                    int first = run.First + done;
                    int count = Math.Min(run.Count - done, PieceSize / map.PageSize);
                    Memory<byte> pages = buffer.AsMemory(0, PageBlock.LengthOf(first, count, map.PageSize, map.LengthOf(number)));
                    long offset = (number * map.BlockSize) + ((long)first * map.PageSize);
                    await file.ReadAsync(offset, pages, cancellationToken);
                    digest ^= PageDigest.Of(key, first, pages.Span, map.PageSize);
                    Hear(listener, offset, pages.Span);
                    done += count;
                }
            }

            if (digest != block.Digest)
            {
                throw new CorruptDataException("Its pages are not those that were read: one changed and was taken for the one before; a full backup stores the file whole.");
            }
        }
    }

    private void Hear(ContentListener? listener, long offset, ReadOnlySpan<byte> bytes)
    {
        Interlocked.Add(ref _bytes, bytes.Length);
        listener?.Invoke(offset, bytes);
    }

    private PathWalk Walk(Snapshot snapshot) => new(_reader.ReadMetadata, snapshot.TreeId, (code, path, why) => Report(new ProofFinding(code, path, why)));

    private void Report(ProofFinding finding)
    {
        Interlocked.Increment(ref _findingCount);
        lock (_findings)
        {
            if (_findings.Count < MostFindings)
            {
                _findings.Add(finding);
            }
        }
    }

    private sealed record Presence(Dictionary<PackId, long> There, Dictionary<PackId, long> Expected, HashSet<PackId> Wrong, HashSet<PackId> Used);
}
