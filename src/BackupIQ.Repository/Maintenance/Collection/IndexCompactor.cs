using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>
/// Puts tombstones into the index and small segments together. What a compaction writes is read back from the storage and proven to hold all
/// that its sources hold before any of them may go; and they go later, by the sweep's rules.
/// </summary>
internal sealed class IndexCompactor(Collector collector)
{
    /// <summary>So many small segments are put together; fewer are left for another time.</summary>
    private const int ManySmall = 8;

    /// <summary>A segment of which more is dead is written anew.</summary>
    private const double DeadShare = 0.3;

    /// <summary>A repository with less index than so many full segments gets smaller ones: each passes through memory whole, several times.</summary>
    private const int FullSegments = 16;

    private const long SmallSegment = 256 << 10;

    private readonly long _target = Math.Min(
        collector.Options.SegmentSize, Math.Max(SmallSegment, collector.Segments.Sum(static s => s.PlainSize) / FullSegments));

    /// <summary>
    /// Puts the tombstones of packs that are about to be deleted, and compacts where it is worth it, or everything that is small
    /// (<paramref name="isThorough"/>).
    /// </summary>
    /// <returns>How many segments were put.</returns>
    public async Task<int> RunAsync(IReadOnlyCollection<CollectedPack> condemned, bool isThorough, CancellationToken cancellationToken)
    {
        HashSet<PackId> fresh = [.. condemned.Where(static p => !p.IsTombstoned).Select(static p => p.Id), .. MarksOfNothing()];
        if (collector.Options.Switches.PutNoTombstones)
        {
            fresh.Clear();
        }

        List<SegmentRecord> sources = await SelectAsync(isThorough, cancellationToken);
        Queue<PackId> tombstones = new(fresh.Concat(Carried(sources)).Distinct());
        int put = 0;
        foreach (List<SegmentRecord> group in Groups(sources))
        {
            await CompactAsync(group, Take(tombstones), cancellationToken);
            put++;
        }

        for (; tombstones.Count > 0; put++)
        {
            PackId[] batch = Take(tombstones);
            await collector.PutSegmentAsync(
                1, sequence => IndexRewrite.Build([], static (_, _) => true, batch, collector.Session.Id, 1, sequence), cancellationToken);
        }

        return put;
    }

    /// <summary>Tombstones that no longer matter: nobody is left who could name their packs in a segment that counts.</summary>
    public bool IsObsolete(PackId tombstone) =>
        collector.Settlement is { IsClean: true } settlement &&
        settlement.Tombstones.Contains(tombstone) &&
        !collector.Marks.Contains(tombstone) &&
        !collector.Index.Packs.ContainsKey(tombstone);

    // Marks without a pack come of a collector that slept before it put them. They go the way of all marks.
    private IEnumerable<PackId> MarksOfNothing() =>
        collector.Settlement is { } settlement
            ? collector.Marks.Where(m => settlement.Marks.Contains(m) && !collector.Tombstones.ContainsKey(m) &&
                (!collector.Index.Packs.TryGetValue(m, out CollectedPack? pack) || pack.Size < 0))
            : [];

    private async Task<List<SegmentRecord>> SelectAsync(bool isThorough, CancellationToken cancellationToken)
    {
        List<SegmentRecord> small = [];
        List<SegmentRecord> urgent = [];
        foreach (SegmentRecord segment in collector.Segments.Order(Comparer<SegmentRecord>.Create(SegmentRecord.Compare)))
        {
            if (!segment.IsVouchedFor || segment.PlainSize > 3 * _target || await collector.IsAtWorkAsync(segment.Session, cancellationToken))
            {
                continue;
            }

            long live = LiveSize(segment);
            if (live == 0 && segment.Tombstones.All(t => IsObsolete(t) || collector.Tombstones[t] != segment))
            {
                // Nothing but what greater segments say: the sweep's.
                continue;
            }

            bool isMostlyDead = live < (1 - DeadShare) * segment.PlainSize;
            bool isFenced = collector.Settlement?.Met.GetValueOrDefault(segment.Session) == SessionState.Fenced;
            if (isFenced || (isMostlyDead && segment.PlainSize > _target / 4))
            {
                urgent.Add(segment);
            }
            else if (live < _target / 4)
            {
                small.Add(segment);
            }
        }

        bool takesSmall = small.Count >= ManySmall || (isThorough && small.Count > 1);
        return takesSmall ? [.. urgent, .. small] : urgent;
    }

    // What of a segment has to be carried on: packs that it, and no greater one, names.
    private static long LiveSize(SegmentRecord segment)
    {
        long size = 0;
        foreach (CollectedPack pack in segment.Packs)
        {
            if (ReferenceEquals(pack.Home, segment) && !IsGoing(pack))
            {
                size += PackEntry.EncodedSize + (pack.IndexRecords * IndexEntry.Size);
            }
        }

        return size;
    }

    private static bool IsGoing(CollectedPack pack) => pack.IsTombstoned || (pack.IsSettled && pack.IsMarked);

    private IEnumerable<PackId> Carried(List<SegmentRecord> sources) =>
        sources.Concat(collector.Segments.Where(static s => !s.IsVouchedFor)).SelectMany(static s => s.Tombstones).Where(t => !IsObsolete(t));

    private PackId[] Take(Queue<PackId> tombstones)
    {
        PackId[] batch = new PackId[Math.Min(tombstones.Count, Math.Max(1, _target / 2 / PackId.Size))];
        for (int i = 0; i < batch.Length; i++)
        {
            batch[i] = tombstones.Dequeue();
        }

        return batch;
    }

    private List<List<SegmentRecord>> Groups(List<SegmentRecord> sources)
    {
        List<List<SegmentRecord>> groups = [];
        long size = 0;
        foreach (SegmentRecord source in sources)
        {
            long next = source.PlainSize;
            if (groups.Count == 0 || size + next > 2 * _target)
            {
                groups.Add([]);
                size = 0;
            }

            groups[^1].Add(source);
            size += next;
        }

        return groups;
    }

    private async Task CompactAsync(List<SegmentRecord> sources, PackId[] tombstones, CancellationToken cancellationToken)
    {
        List<(SegmentRecord Segment, IndexRun Run)> runs = [];
        try
        {
            foreach (SegmentRecord source in sources)
            {
                runs.Add((source, await ReadAsync(source.Key, cancellationToken)));
            }

            // A pack that two sources name is taken from the greater one.
            Dictionary<IndexRun, SegmentRecord> of = runs.ToDictionary(static r => r.Run, static r => r.Segment);
            int level = sources.Max(static s => s.Level) + 1;
            SegmentRecord put = await collector.PutSegmentAsync(
                level,
                sequence => IndexRewrite.Build(
                    [.. of.Keys],
                    (run, pack) => collector.Index.Packs[run.PackAt(pack).Id] is var known && ReferenceEquals(known.Home, of[run]) && !IsGoing(known),
                    tombstones,
                    collector.Session.Id,
                    (ushort)level,
                    sequence),
                cancellationToken);
            using IndexRun written = await ReadAsync(put.Key, cancellationToken);
            Prove(runs, written);
        }
        finally
        {
            runs.ForEach(static r => r.Run.Dispose());
        }
    }

    private void Prove(List<(SegmentRecord Segment, IndexRun Run)> runs, IndexRun written)
    {
        PackFrames frames = new(written);
        Dictionary<PackId, uint> numbers = [];
        for (uint i = 0; i < written.Layout.Packs; i++)
        {
            numbers.Add(written.PackAt(i).Id, i);
        }

        foreach ((SegmentRecord segment, IndexRun run) in runs)
        {
            bool isElsewhere = false;
            bool isCovered = IndexProof.IsCovered(run, id =>
            {
                if (numbers.TryGetValue(id, out uint number))
                {
                    return new PackPlace(written, frames, number);
                }

                isElsewhere |= !IsGoing(collector.Index.Packs[id]);
                return null;
            });
            if (!isCovered)
            {
                throw new BackupIQException(ErrorCodes.Internal, $"A compaction of {segment.Key} does not hold all of it. Nothing was deleted.");
            }

            segment.IsProvenCovered = !isElsewhere;
        }
    }

    public async Task<IndexRun> ReadAsync(Storage.StorageKey key, CancellationToken cancellationToken)
    {
        byte[] plain = await collector.Repository.ReadObjectAsync(ObjectKind.Index, key, cancellationToken);
        IndexRun.Validate(plain);
        return IndexRun.InMemory(plain, []);
    }
}
