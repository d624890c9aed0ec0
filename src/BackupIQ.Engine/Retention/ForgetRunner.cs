using System.Text.Json;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Retention;

/// <summary>A snapshot that could not be forgotten or removed.</summary>
/// <param name="Snapshot">Which.</param>
/// <param name="Code">What kind of failure.</param>
/// <param name="Message">Why.</param>
public sealed record ForgetFailure(SessionId Snapshot, ErrorCode Code, string Message);

/// <summary>What came of forgetting or removing.</summary>
/// <param name="Done">The snapshots that are forgotten, or removed for good.</param>
/// <param name="Failures">Those that remain, with the reason.</param>
public sealed record ForgetResult(IReadOnlyList<SessionId> Done, IReadOnlyList<ForgetFailure> Failures);

/// <summary>
/// Executes plans of forgetting, and removes for good what was forgotten and whose grace time is over. Both store a plan first, work in
/// batches, and go one by one where something of a batch fails; what remains is told.
/// </summary>
public sealed class ForgetRunner(BackupRepository repository, AnnotationAuthor author, TimeProvider time)
{
    // So many at once keep a store busy whose answers take long, and are few enough to look at one by one when one of them fails.
    private const int BatchSize = 16;

    // 34 bytes an id: a part stays well below the 64 KiB of a small object.
    private const int IdsInPart = 1000;

    // A quarter: until then somebody may ask who removed what.
    private static readonly TimeSpan PlansKept = TimeSpan.FromDays(90);

    // Storages that speak HTTP tell their time in whole seconds.
    private static readonly TimeSpan StoreClockGrain = TimeSpan.FromSeconds(1);

    private readonly AnnotationStore _annotations = new(repository, author, time);

    /// <summary>Forgets what the plan says. The snapshots can be brought back until the grace time is over.</summary>
    /// <exception cref="BackupIQException"><c>RetentionRefused</c>: the plan may not be executed; nothing was changed.</exception>
    public async Task<ForgetResult> ForgetAsync(ForgetPlan plan, CancellationToken cancellationToken)
    {
        plan.ThrowIfRefused();
        SessionId[] ids = [.. plan.Forgotten.Select(static decision => decision.Snapshot.Id), .. plan.Damaged];
        if (ids.Length == 0)
        {
            return new ForgetResult([], []);
        }

        await PutPlanAsync("forget", ids, plan.Options, cancellationToken);
        return await InBatchesAsync(
            ids,
            async (id, ct) =>
            {
                await _annotations.ForgetAsync(id, plan.Options.Grace, plan.Options.Reason, ct);
                return null;
            },
            cancellationToken);
    }

    /// <summary>
    /// Removes for good what was forgotten and whose grace time is over, by the earlier of this machine's and the storage's clock. Their content
    /// goes with the next prune.
    /// </summary>
    public async Task<ForgetResult> RemoveDueAsync(CancellationToken cancellationToken)
    {
        DateTimeOffset now = time.GetUtcNow();
        IReadOnlyDictionary<SessionId, SnapshotAnnotations> said = await AnnotationStore.ReadAllAsync(repository, cancellationToken);
        await PlanObjects.SweepAsync(repository, "forget", now - PlansKept, cancellationToken);
        await PlanObjects.SweepAsync(repository, "remove", now - PlansKept, cancellationToken);
        IReadOnlyList<SessionId> gone = await SnapshotObjects.FindGoneAsync(repository, said.Keys, cancellationToken);
        foreach (SessionId snapshot in gone)
        {
            await SnapshotObjects.RemoveAnnotationsAsync(repository, snapshot, cancellationToken);
        }

        SessionId[] due = [.. Due(said, now).Except(gone)];
        if (due.Length == 0)
        {
            return new ForgetResult([], []);
        }

        DateTimeOffset stored = await PutPlanAsync("remove", due, null, cancellationToken);
        if (repository.HasStoreTimes && stored + StoreClockGrain < now)
        {
            due = [.. Due(said, stored + StoreClockGrain).Except(gone)];
        }

        return await InBatchesAsync(due, RemoveAsync, cancellationToken);
    }

    private static IEnumerable<SessionId> Due(IReadOnlyDictionary<SessionId, SnapshotAnnotations> said, DateTimeOffset now) =>
        said.Where(one => one.Value.RemovedFrom <= now && !one.Value.IsHeld(now)).Select(static one => one.Key);

    private async Task<ForgetFailure?> RemoveAsync(SessionId id, CancellationToken cancellationToken)
    {
        if (!await _annotations.CondemnAsync(id, cancellationToken))
        {
            return new ForgetFailure(id, ErrorCodes.RetentionRefused, $"Snapshot {id.ToString()[..8]} was held or brought back meanwhile");
        }

        await SnapshotObjects.RemoveAsync(repository, id, cancellationToken);
        return null;
    }

    private async Task<ForgetResult> InBatchesAsync(
        SessionId[] ids, Func<SessionId, CancellationToken, Task<ForgetFailure?>> act, CancellationToken cancellationToken)
    {
        List<SessionId> done = [];
        List<ForgetFailure> failures = [];
        foreach (SessionId[] batch in ids.Chunk(BatchSize))
        {
            ForgetFailure?[] outcomes = await Task.WhenAll(batch.Select(id => TryAsync(id, act, cancellationToken)));
            for (int i = 0; i < batch.Length; i++)
            {
                // What failed in company may go through alone: a store that refuses so many requests at once takes one.
                ForgetFailure? outcome = outcomes[i] is { Code.ExitCode: not 17 } ? await TryAsync(batch[i], act, cancellationToken) : outcomes[i];
                if (outcome is null)
                {
                    done.Add(batch[i]);
                }
                else
                {
                    failures.Add(outcome);
                }
            }
        }

        return new ForgetResult(done, failures);
    }

    private static async Task<ForgetFailure?> TryAsync(
        SessionId id, Func<SessionId, CancellationToken, Task<ForgetFailure?>> act, CancellationToken cancellationToken)
    {
        try
        {
            return await act(id, cancellationToken);
        }
        catch (BackupIQException e)
        {
            return new ForgetFailure(id, e.Code, e.Message);
        }
    }

    private Task<DateTimeOffset> PutPlanAsync(string verb, SessionId[] ids, ForgetOptions? options, CancellationToken cancellationToken) =>
        PlanObjects.PutAsync(
            repository,
            verb,
            ids.Chunk(IdsInPart).Select(part => JsonSerializer.SerializeToUtf8Bytes(
                new PlanDocument
                {
                    Verb = verb,
                    Time = time.GetLocalNow(),
                    Hostname = author.Hostname,
                    Username = author.Username,
                    ProgramVersion = author.ProgramVersion,
                    Policy = options?.Policy?.ToString(),
                    Grace = options is null ? null : (long)options.Grace.TotalSeconds,
                    Reason = options?.Reason,
                    Snapshots = [.. part.Select(static id => id.ToString())],
                },
                SnapshotJson.Default.PlanDocument)),
            cancellationToken);
}

/// <summary>A part of a plan as it is stored (docs/format.md, Plans).</summary>
internal sealed record PlanDocument
{
    public required string Verb { get; init; }

    public required DateTimeOffset Time { get; init; }

    public required string Hostname { get; init; }

    public required string Username { get; init; }

    public required string ProgramVersion { get; init; }

    public string? Policy { get; init; }

    public long? Grace { get; init; }

    public string? Reason { get; init; }

    public required IReadOnlyList<string> Snapshots { get; init; }
}
