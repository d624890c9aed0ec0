using BackupIQ.Engine.Retention;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;

namespace BackupIQ.Jobs;

/// <content>What is said about snapshots: tags, holds, pins.</content>
public sealed partial class BackupIqRepository
{
    private AnnotationStore Annotations => new(_repository, Author, _time);

    /// <summary>The snapshots that <paramref name="selection"/> names, in the order of their names, or all that its query chooses, oldest first.</summary>
    /// <exception cref="BackupIQException"><c>SnapshotNotFound</c>, <c>SnapshotAmbiguous</c> or <c>Usage</c>.</exception>
    public async Task<IReadOnlyList<SnapshotInfo>> SelectSnapshotsAsync(
        SnapshotSelection selection, CancellationToken cancellationToken = default)
    {
        (SnapshotStore store, IReadOnlyList<Snapshot> all) = await ListAllAsync(selection, cancellationToken).ConfigureAwait(false);
        HashSet<SessionId> lastSound = [.. SoundBases.LastOf(all).Select(static snapshot => snapshot.Id)];
        return [.. Choose(store, all, selection).Select(snapshot => SnapshotInfo.From(snapshot) with { IsLastSound = lastSound.Contains(snapshot.Id) })];
    }

    /// <summary>
    /// Adds and removes tags; no snapshot and no id changes. With <paramref name="replace"/> the tags of before all go, but for those to add.
    /// </summary>
    /// <returns>Each snapshot as it is now, and whether anything changed.</returns>
    public async Task<IReadOnlyList<(SnapshotInfo Snapshot, bool Changed)>> TagAsync(
        SnapshotSelection selection,
        IReadOnlyCollection<string> add,
        IReadOnlyCollection<string> remove,
        bool replace = false,
        CancellationToken cancellationToken = default)
    {
        List<(SnapshotInfo, bool)> changed = [];
        foreach (Snapshot snapshot in await SelectAsync(selection, cancellationToken).ConfigureAwait(false))
        {
            bool isChanged = await Annotations.TagAsync(snapshot, add, replace ? snapshot.Tags : remove, cancellationToken).ConfigureAwait(false);
            changed.Add((await ShowAgainAsync(snapshot, cancellationToken).ConfigureAwait(false), isChanged));
        }

        return changed;
    }

    /// <summary>Holds snapshots until a moment, or until they are released: nobody can forget them.</summary>
    /// <returns>Each as it is now.</returns>
    /// <exception cref="BackupIQException"><c>Validation</c>: that moment is over.</exception>
    public Task<IReadOnlyList<SnapshotInfo>> HoldAsync(
        SnapshotSelection selection, DateTimeOffset? until, string? reason, CancellationToken cancellationToken = default) =>
        ForEachAsync(selection, snapshot => Annotations.HoldAsync(snapshot.Id, until, reason, cancellationToken), cancellationToken);

    /// <summary>Ends every hold of snapshots, and what cannot be read and therefore counts as one.</summary>
    /// <returns>Each as it is now.</returns>
    /// <exception cref="BackupIQException"><c>RetentionRefused</c>: an annotation is of another version.</exception>
    public Task<IReadOnlyList<SnapshotInfo>> ReleaseAsync(
        SnapshotSelection selection, CancellationToken cancellationToken = default) =>
        ForEachAsync(selection, snapshot => Annotations.ReleaseAsync(snapshot, cancellationToken), cancellationToken);

    /// <summary>Keeps snapshots from every rule of retention; who names one may still forget it.</summary>
    /// <returns>Each as it is now.</returns>
    public Task<IReadOnlyList<SnapshotInfo>> PinAsync(
        SnapshotSelection selection, string? reason, CancellationToken cancellationToken = default) =>
        ForEachAsync(selection, snapshot => Annotations.PinAsync(snapshot.Id, reason, cancellationToken), cancellationToken);

    /// <summary>Ends every pin of snapshots.</summary>
    /// <returns>Each as it is now.</returns>
    public Task<IReadOnlyList<SnapshotInfo>> UnpinAsync(
        SnapshotSelection selection, CancellationToken cancellationToken = default) =>
        ForEachAsync(selection, snapshot => Annotations.UnpinAsync(snapshot.Id, cancellationToken), cancellationToken);

    private async Task<IReadOnlyList<SnapshotInfo>> ForEachAsync(
        SnapshotSelection selection, Func<Snapshot, Task> act, CancellationToken cancellationToken)
    {
        List<SnapshotInfo> shown = [];
        foreach (Snapshot snapshot in await SelectAsync(selection, cancellationToken).ConfigureAwait(false))
        {
            await act(snapshot).ConfigureAwait(false);
            shown.Add(await ShowAgainAsync(snapshot, cancellationToken).ConfigureAwait(false));
        }

        return shown;
    }

    private async Task<SnapshotInfo> ShowAgainAsync(Snapshot snapshot, CancellationToken cancellationToken)
    {
        SnapshotAnnotations said = await Annotations.ReadAsync(snapshot.Id, cancellationToken).ConfigureAwait(false);
        return SnapshotInfo.From(snapshot with { Annotations = said, Tags = said.TagsOf(snapshot.OwnTags) });
    }

    private async Task<IReadOnlyList<Snapshot>> SelectAsync(SnapshotSelection selection, CancellationToken cancellationToken)
    {
        (SnapshotStore store, IReadOnlyList<Snapshot> all) = await ListAllAsync(selection, cancellationToken).ConfigureAwait(false);
        return Choose(store, all, selection);
    }

    private async Task<(SnapshotStore Store, IReadOnlyList<Snapshot> All)> ListAllAsync(SnapshotSelection selection, CancellationToken cancellationToken)
    {
        SnapshotStore store = Snapshots();
        IReadOnlyList<Snapshot> all = await store.ListAsync(cancellationToken).ConfigureAwait(false);
        TellOfSnapshots(store, selection.Names);
        return (store, all);
    }

    private static IReadOnlyList<Snapshot> Choose(SnapshotStore store, IReadOnlyList<Snapshot> all, SnapshotSelection selection)
    {
        Snapshot[] matching = [.. all.Where(snapshot => selection.Query.Matches(SnapshotInfo.From(snapshot)))];
        return selection.Names.Count > 0 ? [.. selection.Names.Select(name => store.Choose(matching, name)).DistinctBy(static s => s.Id)]
            : selection.Query.Limit is { } limit && limit < matching.Length ? matching[^limit..]
            : matching;
    }
}
