using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Verification;

/// <summary>What one cause of damage costs.</summary>
internal sealed class Impact(DamageKind kind, DamageSeverity severity, CheckedPack? pack, ChunkId first)
{
    public DamageKind Kind { get; } = kind;

    public DamageSeverity Severity { get; } = severity;

    public CheckedPack? Pack { get; } = pack;

    /// <summary>The first chunk that is lost by it.</summary>
    public ChunkId First { get; } = first;

    public HashSet<ulong> Chunks { get; } = [];

    public HashSet<ulong> Paths { get; } = [];

    public List<DamagedFile> Files { get; } = [];

    public List<SessionId> Snapshots { get; } = [];
}

/// <summary>
/// Finds the paths and snapshots that lost chunks damage. Run only when there is damage: first each distinct directory once, from the leaves
/// up, to learn which lead to damage; then, snapshot by snapshot, only those. One thread; memory grows with the damage, and by a bit for
/// each entry of the index.
/// </summary>
internal sealed class DamageTrace(RepositoryCheck check, int maxListed, PageProof? proof) : IDisposable
{
    private static readonly int[] Nothing = [];

    private readonly CheckedChunkReader _reader = check.CreateReader();
    private readonly List<Impact> _impacts = [];
    private readonly Dictionary<CheckedPack, int> _byPack = [];
    private readonly Dictionary<ChunkId, int> _malformed = [];
    private readonly Dictionary<long, int[]> _below = [];
    private readonly ulong[] _known = new ulong[(check.EntryCount + 63) / 64];
    private readonly HashSet<(long Tree, ulong Path)> _listed = [];
    private readonly HashSet<ulong> _damagedPaths = [];
    private int _missing = -1;
    private bool _isPartial;

    /// <summary>Every cause that was met.</summary>
    public IReadOnlyList<Impact> Impacts => _impacts;

    /// <summary>Distinct damaged paths of complete snapshots.</summary>
    public long DamagedPaths => _damagedPaths.Count;

    /// <summary>What comes from now on concerns partial snapshots only.</summary>
    public void TurnToPartials()
    {
        _isPartial = true;
        _missing = -1;
    }

    /// <summary>Traces one snapshot.</summary>
    public void Trace(SessionId snapshot, ChunkId tree, ChunkId? scan, CancellationToken cancellationToken)
    {
        HashSet<int> causes = [.. Below(new GraphItem(tree, GraphPlace.Tree), cancellationToken)];
        if (scan is { } id)
        {
            causes.UnionWith(Below(new GraphItem(id, GraphPlace.Scan), cancellationToken));
        }

        foreach (int cause in causes.Where(Counts))
        {
            _impacts[cause].Snapshots.Add(snapshot);
            if (!_isPartial && _impacts[cause].Pack is { } pack)
            {
                pack.IsNeededLost = true;
            }
        }

        if (causes.Count > 0)
        {
            List(snapshot, tree, cancellationToken);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _reader.Dispose();

    // The causes of damage at and below an item, from the leaves up; an explicit stack, for trees may be deeper than threads' stacks.
    private int[] Below(GraphItem root, CancellationToken cancellationToken)
    {
        if (TryKnown(root.Id, out int[] known))
        {
            return known;
        }

        Stack<Visit> open = new();
        open.Push(Expand(root, cancellationToken));
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Visit top = open.Peek();
            if (top.Next < top.Children.Count)
            {
                GraphItem child = top.Children[top.Next];
                if (TryKnown(child.Id, out known))
                {
                    top.Causes.UnionWith(known);
                    top.Next++;
                }
                else
                {
                    open.Push(Expand(child, cancellationToken));
                }

                continue;
            }

            open.Pop();
            int[] causes = top.Causes.Count == 0 ? Nothing : [.. top.Causes];
            Remember(top.Item.Id, causes);
            if (open.Count == 0)
            {
                return causes;
            }

            // What cannot be remembered is handed up here, not asked for again.
            open.Peek().Causes.UnionWith(causes);
            open.Peek().Next++;
        }
    }

    private Visit Expand(GraphItem item, CancellationToken cancellationToken)
    {
        Visit visit = new(item);
        try
        {
            ReadOnlyMemory<byte> bytes = _reader.Read(item.Id, cancellationToken);
            GraphPages.Read(bytes.Span, item.Place, visit.Children.Add, node =>
            {
                if (node.Subtree is { } subtree)
                {
                    visit.Children.Add(new GraphItem(subtree, GraphPlace.Tree));
                }

                CausesOf(node, visit.Causes, out _, cancellationToken);
            });
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            visit.Causes.Add(CauseOf(PackKind.Metadata, item.Id, -1));
        }

        return visit;
    }

    private void CausesOf(Node node, HashSet<int> causes, out ChunkId first, CancellationToken cancellationToken)
    {
        first = default;
        if (node.Content is not { } content)
        {
            return;
        }

        if (!content.HasLists)
        {
            CausesOf(PackKind.Data, content.Chunks, causes, ref first);
            return;
        }

        CausesOf(PackKind.Metadata, content.Sums, causes, ref first);
        PageMap? map = content.Kind == ContentKind.Pages ? new PageMap(id => _reader.Read(id, cancellationToken), content, (long)node.Metadata.Size) : null;
        for (int n = 0; n < content.Chunks.Count; n++)
        {
            ChunkReference list = content.Chunks[n];
            if (proof?.IsWrong(list.Id) == true)
            {
                first = first == default ? list.Id : first;
                causes.Add(Malformed(list.Id, DamageKind.PagesWrong));
            }

            try
            {
                if (map is not null)
                {
                    CausesOf(PackKind.Data, map.ReadBlock(n).Chunks, causes, ref first);
                    continue;
                }

                TlvReader reader = new(_reader.Read(list.Id, cancellationToken).Span);
                CausesOf(PackKind.Data, NodeFormat.ReadChunks(ref reader), causes, ref first);
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                first = first == default ? list.Id : first;
                causes.Add(CauseOf(PackKind.Metadata, list.Id, -1));
            }
        }
    }

    private void CausesOf(PackKind kind, IReadOnlyList<ChunkReference> chunks, HashSet<int> causes, ref ChunkId first)
    {
        for (int i = 0; i < chunks.Count; i++)
        {
            if (check.Find(kind, chunks[i].Id, chunks[i].Length, out _) != ChunkFate.Present)
            {
                first = first == default ? chunks[i].Id : first;
                causes.Add(CauseOf(kind, chunks[i].Id, chunks[i].Length));
            }
        }
    }

    private int CauseOf(PackKind kind, in ChunkId id, long length)
    {
        int cause = check.Find(kind, id, length, out CheckedPack? pack) switch
        {
            ChunkFate.Lost => CauseOf(pack!, id),
            ChunkFate.Missing => _missing >= 0 ? _missing : _missing = Add(DamageKind.ChunkMissing, null, id),
            _ => Malformed(id, DamageKind.TreeMalformed),
        };
        _impacts[cause].Chunks.Add((ulong)id.High);
        return cause;
    }

    private int CauseOf(CheckedPack pack, in ChunkId id)
    {
        if (!_byPack.TryGetValue(pack, out int cause))
        {
            cause = Add(DamageKind.PackDamaged, pack, id);
            _byPack.Add(pack, cause);
        }

        return cause;
    }

    private int Malformed(in ChunkId id, DamageKind kind)
    {
        if (!_malformed.TryGetValue(id, out int cause))
        {
            cause = Add(kind, null, id);
            _malformed.Add(id, cause);
        }

        _impacts[cause].Chunks.Add((ulong)id.High);
        return cause;
    }

    private int Add(DamageKind kind, CheckedPack? pack, in ChunkId first)
    {
        _impacts.Add(new Impact(kind, _isPartial ? DamageSeverity.Warning : DamageSeverity.Error, pack, first));
        return _impacts.Count - 1;
    }

    private bool TryKnown(in ChunkId id, out int[] causes)
    {
        long number = check.NumberOf(id);
        causes = Nothing;
        if (number < 0 || (_known[number >> 6] & (1UL << (int)(number & 63))) == 0)
        {
            return false;
        }

        causes = _below.GetValueOrDefault(number, Nothing);
        return true;
    }

    private void Remember(in ChunkId id, int[] causes)
    {
        long number = check.NumberOf(id);
        if (number < 0)
        {
            return;
        }

        _known[number >> 6] |= 1UL << (int)(number & 63);
        if (causes.Length > 0)
        {
            _below[number] = causes;
        }
    }

    // Only what leads to damage is entered, and each directory once for each path at which it stands.
    private void List(SessionId snapshot, ChunkId root, CancellationToken cancellationToken)
    {
        Stack<(GraphItem Item, byte[] Path)> open = new();
        open.Push((new GraphItem(root, GraphPlace.Tree), []));
        HashSet<int> causes = [];
        while (open.TryPop(out (GraphItem Item, byte[] Path) at))
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (Below(at.Item, cancellationToken).Length == 0 || !_listed.Add((check.NumberOf(at.Item.Id), HashOf(at.Path))))
            {
                continue;
            }

            try
            {
                ReadOnlyMemory<byte> bytes = _reader.Read(at.Item.Id, cancellationToken);
                GraphPages.Read(bytes.Span, at.Item.Place, page => open.Push((page, at.Path)), node =>
                {
                    byte[] path = [.. at.Path, (byte)'/', .. node.Metadata.Name];
                    if (node.Subtree is { } subtree)
                    {
                        open.Push((new GraphItem(subtree, GraphPlace.Tree), path));
                    }

                    causes.Clear();
                    CausesOf(node, causes, out ChunkId first, cancellationToken);
                    foreach (int cause in causes)
                    {
                        Tell(cause, new DamagedFile(path, snapshot, first));
                    }
                });
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                Tell(CauseOf(PackKind.Metadata, at.Item.Id, -1), new DamagedFile([.. at.Path, (byte)'/'], snapshot, at.Item.Id));
            }
        }
    }

    // What complete snapshots lose is told of them alone: partial ones are hints that nobody restores.
    private bool Counts(int cause) => !_isPartial || _impacts[cause].Severity != DamageSeverity.Error;

    private void Tell(int cause, DamagedFile file)
    {
        if (!Counts(cause))
        {
            return;
        }

        ulong hash = HashOf(file.Path);
        if (!_isPartial)
        {
            _damagedPaths.Add(hash);
        }

        if (_impacts[cause].Paths.Add(hash) && _impacts[cause].Files.Count < maxListed)
        {
            _impacts[cause].Files.Add(file);
        }
    }

    private static ulong HashOf(byte[] path)
    {
        Span<byte> digest = stackalloc byte[8];
        Blake3.Hash(path, digest);
        return BitConverter.ToUInt64(digest);
    }

    private sealed class Visit(GraphItem item)
    {
        public GraphItem Item { get; } = item;

        public List<GraphItem> Children { get; } = [];

        public HashSet<int> Causes { get; } = [];

        public int Next { get; set; }
    }
}
