using BackupIQ.Engine.Retention;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;

namespace BackupIQ.Jobs;

/// <content>Forgetting, and bringing back.</content>
public sealed partial class BackupIqRepository
{
    private ForgetRunner Forgetter => new(_repository, Author, _time);

    private static AnnotationAuthor Author => new(Environment.MachineName, Environment.UserName, "backupiq " + Version);

    /// <summary>
    /// Plans what is forgotten: the snapshots that <paramref name="selection"/> names, or, without names, those of its query that the rules of
    /// <paramref name="request"/> do not keep. Changes nothing.
    /// </summary>
    /// <exception cref="BackupIQException"><c>SnapshotNotFound</c>, <c>SnapshotAmbiguous</c> or <c>Usage</c>.</exception>
    public async Task<ForgetPreview> PlanForgetAsync(
        SnapshotSelection selection, RetentionRequest request, CancellationToken cancellationToken = default)
    {
        ForgetOptions options = request.ToOptions();
        SnapshotStore store = new(_repository);
        IReadOnlyList<Snapshot> all = await store.ListAsync(cancellationToken).ConfigureAwait(false);
        Tell(store.Damaged);

        ForgetPlanner planner = new(all, _repository.HasStoreTimes, _time.GetUtcNow(), _time.LocalTimeZone);
        if (selection.Names.Count == 0)
        {
            return ForgetPreview.From(planner.ByRules(snapshot => selection.Query.Matches(SnapshotInfo.From(snapshot)), options));
        }

        // A damaged snapshot is in no list, but by its full id it can go.
        SessionId[] damaged = [.. store.DamagedIds.Where(id => selection.Names.Contains(id.ToString(), StringComparer.Ordinal))];
        string[] readable = [.. selection.Names.Except(damaged.Select(static id => id.ToString()), StringComparer.Ordinal)];
        IReadOnlyList<Snapshot> named = readable.Length > 0 ? Choose(store, all, selection with { Names = readable }) : [];
        return ForgetPreview.From(planner.ByName(named, damaged, options));
    }

    /// <summary>
    /// Executes a plan, and removes for good what was forgotten earlier and whose grace time is over. What could not be done is in the outcome.
    /// </summary>
    /// <exception cref="BackupIQException"><c>RetentionRefused</c>: the plan may not be executed; nothing was changed.</exception>
    public async Task<ForgetOutcome> ForgetAsync(ForgetPreview preview, CancellationToken cancellationToken = default)
    {
        ForgetRunner forgetter = Forgetter;
        ForgetResult forgotten = await forgetter.ForgetAsync(preview.Plan, cancellationToken).ConfigureAwait(false);
        ForgetResult removed = await forgetter.RemoveDueAsync(cancellationToken).ConfigureAwait(false);
        return new ForgetOutcome(
            [.. forgotten.Done.Select(static id => id.ToString())],
            [.. removed.Done.Select(static id => id.ToString())],
            [.. forgotten.Failures.Concat(removed.Failures).Select(static f => new ForgetRemainder(f.Snapshot.ToString(), f.Code, f.Message))]);
    }

    /// <summary>The forgotten snapshots that can still be brought back, oldest first.</summary>
    public async Task<IReadOnlyList<SnapshotInfo>> ListForgottenAsync(
        SnapshotSelection? selection = null, CancellationToken cancellationToken = default) =>
        [.. (await SelectForgottenAsync(selection, cancellationToken).ConfigureAwait(false)).Select(SnapshotInfo.From)];

    /// <summary>Brings forgotten snapshots back.</summary>
    /// <returns>Each, and whether it is certain to stay: not when somebody had begun to remove it for good.</returns>
    /// <exception cref="BackupIQException"><c>SnapshotNotFound</c>: no forgotten snapshot is named so, or it was removed for good.</exception>
    public async Task<IReadOnlyList<(SnapshotInfo Snapshot, bool IsCertain)>> UndeleteAsync(
        SnapshotSelection selection, CancellationToken cancellationToken = default)
    {
        List<(SnapshotInfo, bool)> back = [];
        foreach (Snapshot snapshot in await SelectForgottenAsync(selection, cancellationToken).ConfigureAwait(false))
        {
            bool isCertain = await Annotations.UndeleteAsync(snapshot.Id, cancellationToken).ConfigureAwait(false);
            back.Add((await ShowAgainAsync(snapshot, cancellationToken).ConfigureAwait(false), isCertain));
        }

        return back;
    }

    private async Task<IReadOnlyList<Snapshot>> SelectForgottenAsync(
        SnapshotSelection? selection, CancellationToken cancellationToken)
    {
        SnapshotStore store = new(_repository);
        IReadOnlyList<Snapshot> forgotten = await store.ListForgottenAsync(cancellationToken).ConfigureAwait(false);
        Tell(store.Damaged);

        return Choose(store, forgotten, selection ?? new SnapshotSelection([], new SnapshotQuery()));
    }
}
