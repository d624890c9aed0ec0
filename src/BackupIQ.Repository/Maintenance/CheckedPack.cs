using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Maintenance;

/// <summary>A pack under check: what the index and the storage say of it, and what was found.</summary>
public sealed class CheckedPack
{
    private readonly List<string> _problems = [];
    private volatile bool _isUsed;

    internal CheckedPack(PackId id, PackKind kind)
    {
        Id = id;
        Kind = kind;
    }

    /// <summary>The pack's name.</summary>
    public PackId Id { get; }

    /// <summary>What it holds.</summary>
    public PackKind Kind { get; }

    /// <summary>The object's name in the repository.</summary>
    public string ObjectName => RepositoryLayout.Pack(Kind, Id).Value;

    /// <summary>Bytes as the storage lists it; -1 when it is not there.</summary>
    public long Size { get; internal set; } = -1;

    /// <summary>The index or a snapshot counts on it, and it is not there.</summary>
    public bool IsMissing => Size < 0;

    /// <summary>No readable index segment names it; its own contents table was read instead.</summary>
    public bool IsUnindexed { get; internal set; }

    /// <summary>A segment of an announced session names it.</summary>
    internal bool IsVouchedFor { get; set; }

    /// <summary>It lies in an archive of the storage, where nobody can look into it.</summary>
    public bool IsArchived { get; internal set; }

    /// <summary>A collector has marked it, so that no new snapshot relies on it.</summary>
    public bool IsMarked { get; internal set; }

    /// <summary>A snapshot needs a chunk that is read from here.</summary>
    public bool IsUsed => _isUsed;

    /// <summary>A snapshot needs a chunk that was here and can no longer be read from any pack.</summary>
    public bool IsNeededLost { get; set; }

    /// <summary>Something is wrong with it.</summary>
    public bool IsBroken
    {
        get
        {
            lock (_problems)
            {
                return _problems.Count > 0;
            }
        }
    }

    /// <summary>What is wrong with it, half a sentence each.</summary>
    public IReadOnlyList<string> Problems
    {
        get
        {
            lock (_problems)
            {
                return [.. _problems];
            }
        }
    }

    /// <summary>Its frames could not be opened by its own contents table; the index is asked for them.</summary>
    public bool NeedsIndexContents { get; internal set; }

    /// <summary>Numbers of this pack in the check's index: more than one when two segments name it.</summary>
    internal List<uint> Numbers { get; } = new(1);

    internal ulong IndexedSize { get; set; }

    internal SessionId? Session { get; set; }

    /// <summary>Its contents table was compared with the index.</summary>
    internal bool IsCompared { get; set; }

    internal void Use() => _isUsed = true;

    internal void Report(string problem)
    {
        lock (_problems)
        {
            // A broken pack may have thousands of broken frames: the first few say where to look.
            if (_problems.Count < 8 && !_problems.Contains(problem))
            {
                _problems.Add(problem);
            }
        }
    }
}
