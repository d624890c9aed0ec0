using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Snapshots;

/// <summary>Who says something about a snapshot.</summary>
public sealed record AnnotationAuthor(string Hostname, string Username, string ProgramVersion);

/// <summary>
/// Says things about snapshots and reads what is said: tags, holds, pins, verdicts, that one is forgotten. Nothing of it changes a snapshot
/// or its id. Whatever lessens a snapshot's protection stands apart (docs/format.md, Annotations), so that a storage can forbid it to writers.
/// </summary>
public sealed class AnnotationStore(BackupRepository repository, AnnotationAuthor author, TimeProvider time)
{
    /// <summary>What is said about one snapshot.</summary>
    public async Task<SnapshotAnnotations> ReadAsync(SessionId snapshot, CancellationToken cancellationToken) =>
        SnapshotAnnotations.Of(await AnnotationObjects.ReadAsync(repository, snapshot, cancellationToken));

    /// <summary>What is said about all snapshots of which anything is.</summary>
    public static async Task<IReadOnlyDictionary<SessionId, SnapshotAnnotations>> ReadAllAsync(BackupRepository repository, CancellationToken cancellationToken) =>
        (await AnnotationObjects.ReadAsync(repository, null, cancellationToken))
            .GroupBy(static stored => stored.Snapshot)
            .ToDictionary(static group => group.Key, SnapshotAnnotations.Of);

    /// <summary>Makes the snapshot's tags what they were, without <paramref name="remove"/>, and with <paramref name="add"/>.</summary>
    /// <returns>Whether anything was to be changed.</returns>
    public async Task<bool> TagAsync(Snapshot snapshot, IReadOnlyCollection<string> add, IReadOnlyCollection<string> remove, CancellationToken cancellationToken)
    {
        foreach (string tag in add)
        {
            RequireText(tag, "A tag");
        }

        string[] missing = [.. add.Except(snapshot.Tags, StringComparer.Ordinal)];
        string[] gone = [.. snapshot.Tags.Intersect(remove, StringComparer.Ordinal).Except(add, StringComparer.Ordinal)];

        // First what is added: who is interrupted between has a tag too many and none too few.
        foreach (string tag in missing)
        {
            await PutAsync(snapshot.Id, New(AnnotationKind.Tag) with { Tag = tag }, cancellationToken);
        }

        if (gone.Length > 0)
        {
            string[] own = [.. snapshot.OwnTags.Intersect(gone, StringComparer.Ordinal)];
            await WithdrawAsync(snapshot.Id, snapshot.Annotations.Tags.Where(t => gone.Contains(t.Tag)).Select(static t => t.Id), own, cancellationToken);
        }

        return missing.Length + gone.Length > 0;
    }

    /// <summary>Holds a snapshot until a day, or until it is released. A forgetting of it is taken back.</summary>
    /// <exception cref="BackupIQException"><c>Validation</c>: that day is over. <c>SnapshotNotFound</c>: it was removed for good meanwhile.</exception>
    public async Task HoldAsync(SessionId snapshot, DateTimeOffset? until, string? reason, CancellationToken cancellationToken)
    {
        if (until <= time.GetUtcNow())
        {
            throw new BackupIQException(ErrorCodes.Validation, $"The hold would end at {until:u}, which is over");
        }

        await PutAsync(snapshot, New(AnnotationKind.Hold) with { Until = until, Reason = Reason(reason) }, cancellationToken);
        await AnnotationObjects.SettleAsync(repository, time, cancellationToken);
        if ((await ReadAsync(snapshot, cancellationToken)).IsForgotten)
        {
            await UndeleteAsync(snapshot, cancellationToken);
        }
    }

    /// <summary>Keeps a snapshot from every rule of retention.</summary>
    public Task PinAsync(SessionId snapshot, string? reason, CancellationToken cancellationToken) =>
        PutAsync(snapshot, New(AnnotationKind.Pin) with { Reason = Reason(reason) }, cancellationToken);

    /// <summary>
    /// Says of a copy the holds and pins of its original, under the ids that they have there: each once, so that what the copy was told and is
    /// withdrawn stays so. Holds that are over are left out.
    /// </summary>
    public async Task TakeOverAsync(SessionId copy, IReadOnlyList<Annotation> annotations, CancellationToken cancellationToken)
    {
        if (annotations.Count == 0)
        {
            return;
        }

        HashSet<SessionId?> known = [.. (await AnnotationObjects.ReadAsync(repository, copy, cancellationToken)).Select(static one => one.Id)];
        foreach (Annotation annotation in annotations.Where(one => !known.Contains(one.Id) && SnapshotAnnotations.IsInForce(one, time.GetUtcNow())))
        {
            AnnotationDocument document = New(annotation.Kind) with
            {
                Time = annotation.Time,
                Hostname = annotation.Hostname,
                Username = annotation.Username,
                Until = annotation.Until,
                Reason = annotation.Reason.Length > 0 ? annotation.Reason : null,
            };
            await AnnotationObjects.PutAsync(repository, copy, annotation.Id, isWithdrawal: false, document.Write(), cancellationToken);
        }
    }

    /// <summary>Says that a restore of it was verified, or failed.</summary>
    /// <param name="snapshot">The snapshot.</param>
    /// <param name="level">How deep.</param>
    /// <param name="passed">Whether all was as it should be.</param>
    /// <param name="reason">What was found, for people; null: nothing is said. Of a longer one the beginning is kept.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public Task PutVerdictAsync(SessionId snapshot, string level, bool passed, string? reason, CancellationToken cancellationToken)
    {
        RequireText(level, "A level");
        string? kept = reason is { Length: > AnnotationDocument.MaxText } ? reason[..AnnotationDocument.MaxText] : reason;
        return PutAsync(snapshot, New(AnnotationKind.Verdict) with { Level = level, Passed = passed, Reason = kept }, cancellationToken);
    }

    /// <summary>
    /// Ends all holds, and what cannot be read and therefore counts as one; what is damaged is then deleted.
    /// </summary>
    /// <returns>How many there were.</returns>
    /// <exception cref="BackupIQException"><c>RetentionRefused</c>: an object has a name that this version does not know.</exception>
    public async Task<int> ReleaseAsync(Snapshot snapshot, CancellationToken cancellationToken)
    {
        SnapshotAnnotations said = await ReadAsync(snapshot.Id, cancellationToken);
        if (said.Unreadable.FirstOrDefault(static one => one.Id is null) is { } foreign)
        {
            throw new BackupIQException(
                ErrorCodes.RetentionRefused,
                $"{foreign.Name} is of another version and may hold the snapshot",
                "Use that version, or remove the object if it does not belong there.");
        }

        SessionId[] ids = [.. said.Holds.Select(static hold => hold.Id), .. said.Unreadable.Select(static one => one.Id!.Value)];
        await WithdrawAsync(snapshot.Id, ids, [], cancellationToken);
        foreach (AnnotationObject damaged in said.Unreadable.Where(static one => one.Document is null))
        {
            await AnnotationObjects.DeleteAsync(repository, damaged, cancellationToken);
        }

        return ids.Length;
    }

    /// <summary>Ends all pins.</summary>
    /// <returns>How many there were.</returns>
    public async Task<int> UnpinAsync(SessionId snapshot, CancellationToken cancellationToken)
    {
        SnapshotAnnotations said = await ReadAsync(snapshot, cancellationToken);
        await WithdrawAsync(snapshot, said.Pins.Select(static pin => pin.Id), [], cancellationToken);
        return said.Pins.Count;
    }

    /// <summary>
    /// Forgets a snapshot: it is shown no more, and once <paramref name="grace"/> is over it may be removed for good. A hold that was put at
    /// the same time wins.
    /// </summary>
    /// <exception cref="BackupIQException"><c>RetentionRefused</c>: it is held.</exception>
    public async Task ForgetAsync(SessionId snapshot, TimeSpan grace, string? reason, CancellationToken cancellationToken)
    {
        RequireNoHold(snapshot, await ReadAsync(snapshot, cancellationToken));
        await PutAsync(
            snapshot, New(AnnotationKind.Forget) with { Grace = (long)grace.TotalSeconds, Reason = Reason(reason) }, cancellationToken);
        await AnnotationObjects.SettleAsync(repository, time, cancellationToken);
        SnapshotAnnotations after = await ReadAsync(snapshot, cancellationToken);
        if (after.IsHeld(time.GetUtcNow()))
        {
            await PutUndeleteAsync(snapshot, after, cancellationToken);
            RequireNoHold(snapshot, after);
        }
    }

    /// <summary>Takes every forgetting of a snapshot back.</summary>
    /// <returns>False when somebody had begun to remove it for good, so that it may yet go: looking again tells.</returns>
    /// <exception cref="BackupIQException"><c>SnapshotNotFound</c>: it was removed for good.</exception>
    public async Task<bool> UndeleteAsync(SessionId snapshot, CancellationToken cancellationToken)
    {
        await PutUndeleteAsync(snapshot, await ReadAsync(snapshot, cancellationToken), cancellationToken);
        await AnnotationObjects.SettleAsync(repository, time, cancellationToken);
        SnapshotAnnotations after = await ReadAsync(snapshot, cancellationToken);
        if (await SnapshotObjects.ExistsAsync(repository, snapshot, cancellationToken))
        {
            return !after.IsCondemned;
        }

        throw new BackupIQException(
            ErrorCodes.SnapshotNotFound, $"Snapshot {snapshot.ToString()[..8]} was removed for good", "Its grace time was over; nothing can bring it back.");
    }

    /// <summary>
    /// Says that a snapshot is about to be removed for good, and then whether it may be: not when a hold or an undeletion was put before that
    /// was visible. Whoever puts one later sees the condemnation.
    /// </summary>
    public async Task<bool> CondemnAsync(SessionId snapshot, CancellationToken cancellationToken)
    {
        await PutAsync(snapshot, New(AnnotationKind.Condemn), cancellationToken);
        await AnnotationObjects.SettleAsync(repository, time, cancellationToken);
        SnapshotAnnotations after = await ReadAsync(snapshot, cancellationToken);
        return after.IsForgotten && !after.IsHeld(time.GetUtcNow());
    }

    private static string? Reason(string? reason)
    {
        if (reason is not null)
        {
            RequireText(reason, "A reason");
        }

        return reason;
    }

    private static void RequireText(string text, string what)
    {
        if (text.Length is 0 or > AnnotationDocument.MaxText)
        {
            throw new BackupIQException(ErrorCodes.Validation, $"{what} has 1 to {AnnotationDocument.MaxText} characters");
        }
    }

    private void RequireNoHold(SessionId snapshot, SnapshotAnnotations said)
    {
        if (said.IsHeld(time.GetUtcNow()))
        {
            throw Held(snapshot, said);
        }
    }

    internal static BackupIQException Held(SessionId snapshot, SnapshotAnnotations said)
    {
        BackupIQException refusal = new(
            ErrorCodes.RetentionRefused,
            said.Unreadable.Count > 0
                ? $"Snapshot {snapshot.ToString()[..8]} is kept, for what is said about it cannot be read and may be a hold"
                : $"Snapshot {snapshot.ToString()[..8]} is held",
            "'backupiq hold list' shows why; 'backupiq hold --release SNAP' ends it.");
        foreach (Annotation hold in said.Holds)
        {
            refusal.With("by", $"{hold.Username}@{hold.Hostname}").With("reason", hold.Reason);
        }

        return refusal;
    }

    private async Task PutUndeleteAsync(SessionId snapshot, SnapshotAnnotations said, CancellationToken cancellationToken)
    {
        foreach (string[] ids in AnnotationDocument.IdLists(said.Forgettings.Select(static forgetting => forgetting.Id)))
        {
            await PutAsync(snapshot, New(AnnotationKind.Undelete) with { Withdraws = ids }, cancellationToken);
        }
    }

    private async Task WithdrawAsync(SessionId snapshot, IEnumerable<SessionId> ids, IReadOnlyList<string> ownTags, CancellationToken cancellationToken)
    {
        string[][] lists = [.. AnnotationDocument.IdLists(ids)];
        for (int i = 0; i < Math.Max(lists.Length, ownTags.Count > 0 ? 1 : 0); i++)
        {
            await PutAsync(
                snapshot,
                New(AnnotationKind.Withdraw) with { Withdraws = i < lists.Length ? lists[i] : [], OwnTags = i == 0 && ownTags.Count > 0 ? ownTags : null },
                cancellationToken);
        }
    }

    private AnnotationDocument New(AnnotationKind kind) => new()
    {
        Kind = kind,
        Time = time.GetLocalNow(),
        Hostname = author.Hostname,
        Username = author.Username,
        ProgramVersion = author.ProgramVersion,
    };

    private Task PutAsync(SessionId snapshot, AnnotationDocument document, CancellationToken cancellationToken) =>
        AnnotationObjects.PutAsync(
            repository, snapshot, SessionId.New(), AnnotationDocument.IsWithdrawal(document.Kind), document.Write(), cancellationToken);
}
