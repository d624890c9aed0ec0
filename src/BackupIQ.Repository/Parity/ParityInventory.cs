using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Parity;

/// <summary>All parity objects of a repository beside all objects that may have one, as two listings tell.</summary>
internal sealed class ParityInventory
{
    /// <summary>Other objects than packs come back from their parity alone when they are no larger than this.</summary>
    private const long CopiedWhole = 64 << 10;

    private static readonly string[] Prefixes =
    [
        RepositoryLayout.ConfigurationPrefix, RepositoryLayout.KeyPrefix, RepositoryLayout.SnapshotPrefix, RepositoryLayout.IndexPrefix,
        RepositoryLayout.MetadataPackPrefix, RepositoryLayout.DataPackPrefix, RepositoryLayout.LogPrefix,
    ];

    private readonly List<StoredObject> _subjects = [];
    private readonly Dictionary<string, List<(StoredObject Object, int Shards)>> _parities = new(StringComparer.Ordinal);
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);

    private ParityInventory()
    {
    }

    /// <summary>
    /// Lists parity first: an object that vanishes in between leaves waste, and one that comes in between is seen. The other way round the
    /// parity of a new object would be taken for waste.
    /// </summary>
    public static async Task<ParityInventory> ReadAsync(IStorageBackend storage, CancellationToken cancellationToken)
    {
        ParityInventory inventory = new();
        await foreach (StoredObject stored in storage.ListAsync(RepositoryLayout.ParityPrefix, cancellationToken))
        {
            if (RepositoryLayout.TryParseParity(stored.Key, out StorageKey subject, out int shards) && shards > 0)
            {
                if (!inventory._parities.TryGetValue(subject.Value, out List<(StoredObject, int)>? list))
                {
                    inventory._parities.Add(subject.Value, list = new(1));
                }

                list.Add((stored, shards));
            }
        }

        foreach (string prefix in Prefixes)
        {
            await foreach (StoredObject stored in storage.ListAsync(prefix, cancellationToken))
            {
                inventory._names.Add(stored.Key.Value);
                if (stored.Size is > 0 and <= ParityLayout.MaxSize)
                {
                    inventory._subjects.Add(stored);
                }
            }
        }

        return inventory;
    }

    /// <summary>The parity objects of an object, those with most shards first.</summary>
    public IEnumerable<(StorageKey Key, int Shards)> ParitiesOf(StorageKey subject) => _parities.TryGetValue(subject.Value, out List<(StoredObject Object, int Shards)>? list)
        ? list.OrderByDescending(static parity => parity.Shards).Select(static parity => (parity.Object.Key, parity.Shards))
        : [];

    public ParityStatus Status()
    {
        StoredObject[] covered = [.. _subjects.Where(subject => _parities.ContainsKey(subject.Key.Value))];
        int[] percents = [.. covered.Where(static subject => ObjectProof.PackOf(subject.Key) is not null).Select(PercentOf)];
        StoredObject[] waste = [.. Waste()];
        return new ParityStatus
        {
            Objects = _subjects.Count,
            ObjectBytes = _subjects.Sum(static subject => subject.Size),
            CoveredObjects = covered.Length,
            CoveredBytes = covered.Sum(static subject => subject.Size),
            ParityObjects = _parities.Values.Sum(static list => list.Count),
            ParityBytes = _parities.Values.Sum(static list => list.Sum(static parity => parity.Object.Size)),
            WasteObjects = waste.Length,
            WasteBytes = waste.Sum(static item => item.Size),
            LeastPercent = percents.Length == 0 ? null : percents.Min(),
            MostPercent = percents.Length == 0 ? null : percents.Max(),
        };
    }

    /// <summary>All parity objects.</summary>
    public IEnumerable<StoredObject> All => _parities.Values.SelectMany(static list => list).Select(static parity => parity.Object);

    /// <summary>
    /// What is to be done so that every object has this much parity, and none more than one. <paramref name="damaged"/> parity objects are
    /// made again.
    /// </summary>
    public ParityPlan PlanFor(int percent, IReadOnlySet<StorageKey> damaged)
    {
        List<ParityTask> tasks = [];
        List<StoredObject> removals = [.. Waste()];
        foreach (StoredObject subject in _subjects)
        {
            bool isCopied = subject.Size <= CopiedWhole && ObjectProof.PackOf(subject.Key) is null;
            ParityLayout layout = ParityLayout.For(subject.Size, isCopied ? 100 : percent);
            List<(StoredObject Object, int Shards)> there = _parities.GetValueOrDefault(subject.Key.Value) ?? [];
            if (!there.Exists(parity => parity.Shards == layout.ParityShards && parity.Object.Size == ParityHead.ObjectSizeFor(layout) && !damaged.Contains(parity.Object.Key)))
            {
                tasks.Add(new ParityTask(subject.Key, layout));
            }

            removals.AddRange(there.Where(parity => parity.Shards != layout.ParityShards).Select(static parity => parity.Object));
        }

        return new ParityPlan { Tasks = tasks, Removals = removals };
    }

    /// <summary>The plan that leaves no parity object.</summary>
    public ParityPlan PlanRemoval() =>
        new() { Removals = [.. All] };

    /// <summary>Parity objects whose object is gone.</summary>
    private IEnumerable<StoredObject> Waste() => _parities
        .Where(item => !_names.Contains(item.Key))
        .SelectMany(static item => item.Value)
        .Select(static parity => parity.Object);

    // Shards are rounded up: the largest percentage that gives so many is what was asked for, or just above it.
    private int PercentOf(StoredObject subject)
    {
        int shards = _parities[subject.Key.Value].Max(static parity => parity.Shards);
        int percent = 100;
        while (percent > 1 && ParityLayout.For(subject.Size, percent).ParityShards > shards)
        {
            percent--;
        }

        return percent;
    }
}
