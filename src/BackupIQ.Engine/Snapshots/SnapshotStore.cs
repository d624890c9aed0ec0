using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Snapshots;

/// <summary>Lists, finds and reads the snapshots of a repository.</summary>
/// <param name="repository">The repository.</param>
/// <param name="at">Snapshots that were committed after this moment, by their own clock, are not there. Null: all are.</param>
public sealed class SnapshotStore(BackupRepository repository, DateTimeOffset? at = null)
{
    private readonly List<(SessionId Id, bool IsSnapshot, string Finding)> _damaged = [];

    /// <summary>One sentence for each snapshot, or annotation of one, that was met and could not be read.</summary>
    public IReadOnlyList<string> Damaged => [.. _damaged.Select(static damaged => damaged.Finding)];

    /// <summary>The snapshots among <see cref="Damaged"/>.</summary>
    public IReadOnlyList<SessionId> DamagedIds => [.. _damaged.Where(static damaged => damaged.IsSnapshot).Select(static damaged => damaged.Id)];

    /// <summary>
    /// All snapshots that count and are not forgotten, oldest first, with what is said about them. A damaged one is left out and told in
    /// <see cref="Damaged"/>.
    /// </summary>
    public async Task<IReadOnlyList<Snapshot>> ListAsync(CancellationToken cancellationToken) =>
        [.. (await ListAnnotatedAsync(cancellationToken)).Where(IsShown)];

    /// <summary>The forgotten snapshots that are not removed for good yet, oldest first.</summary>
    public async Task<IReadOnlyList<Snapshot>> ListForgottenAsync(CancellationToken cancellationToken) =>
        [.. (await ListAnnotatedAsync(cancellationToken)).Where(static snapshot => snapshot.Annotations.IsForgotten)];

    /// <summary>All snapshots that count, forgotten or not, oldest first, with what is said about them.</summary>
    public async Task<IReadOnlyList<Snapshot>> ListAnnotatedAsync(CancellationToken cancellationToken)
    {
        // Annotations after snapshots: what was said about one of these before now is seen.
        IReadOnlyList<Snapshot> stored = await ListStoredAsync(cancellationToken);
        IReadOnlyDictionary<SessionId, SnapshotAnnotations> said = await AnnotationStore.ReadAllAsync(repository, cancellationToken);
        List<Snapshot> annotated = new(stored.Count);
        foreach (Snapshot snapshot in stored)
        {
            if (!said.TryGetValue(snapshot.Id, out SnapshotAnnotations? about))
            {
                annotated.Add(snapshot);
                continue;
            }

            annotated.Add(snapshot with { Annotations = about, Tags = about.TagsOf(snapshot.OwnTags) });
            foreach (AnnotationObject unreadable in about.Unreadable)
            {
                string problem = unreadable.Document is null ? unreadable.Damage : "this version does not know what it says";
                _damaged.Add((snapshot.Id, false, $"{unreadable.Name}: {problem}. It may be a hold, so snapshot {snapshot.ShortId} is kept as if it were held."));
            }
        }

        return annotated;
    }

    /// <summary>All snapshots that count as they were committed, forgotten or not, oldest first: what a backup compares with.</summary>
    public Task<IReadOnlyList<Snapshot>> ListStoredAsync(CancellationToken cancellationToken) =>
        ListAsync(partial: false, cancellationToken);

    /// <summary>The partial snapshots that interrupted runs left, oldest first; of one run, too.</summary>
    public Task<IReadOnlyList<Snapshot>> ListPartialAsync(CancellationToken cancellationToken) =>
        ListAsync(partial: true, cancellationToken);

    /// <summary>The last partial snapshot of each run that left any, oldest first.</summary>
    public async Task<IReadOnlyList<Snapshot>> ListLastPartialAsync(CancellationToken cancellationToken) =>
        [.. (await ListPartialAsync(cancellationToken)).GroupBy(static partial => partial.Id).Select(static run => run.Last())];

    /// <summary>
    /// Finds a snapshot by an id, a unique prefix of 4 or more of its digits, its name, <c>latest</c>, <c>latest~2</c> (the third newest),
    /// or <c>@2026-11-22T10:00</c> (the newest at or before that moment).
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>SnapshotNotFound</c>, <c>SnapshotAmbiguous</c> or <c>Usage</c>; <c>CorruptData</c> where the one that is meant is there, but damaged.
    /// </exception>
    public Task<Snapshot> FindAsync(string text, CancellationToken cancellationToken) => FindAsync(text, static _ => true, cancellationToken);

    /// <summary>As <see cref="FindAsync(string, CancellationToken)"/>, among those that <paramref name="isChosen"/> chooses.</summary>
    public async Task<Snapshot> FindAsync(string text, Func<Snapshot, bool> isChosen, CancellationToken cancellationToken)
    {
        IReadOnlyList<Snapshot> all = await ListAsync(cancellationToken);
        return Choose([.. all.Where(isChosen)], text);
    }

    /// <summary>As <see cref="FindAsync(string, CancellationToken)"/>, among snapshots that this store listed.</summary>
    public Snapshot Choose(IReadOnlyList<Snapshot> listed, string text)
    {
        try
        {
            return Find(listed, text);
        }
        catch (BackupIQException e) when (e.Code == ErrorCodes.SnapshotNotFound && DamageOf(text) is { } damage)
        {
            throw new CorruptDataException(damage, e);
        }
    }

    /// <summary>Whether the text chooses by time, so that another snapshot is chosen where one cannot be read.</summary>
    public static bool IsByTime(string text) => text == "latest" || text.StartsWith("latest~", StringComparison.Ordinal) || text.StartsWith('@');

    /// <summary>As <see cref="FindAsync(string, CancellationToken)"/>, among snapshots that are at hand, oldest first.</summary>
    public static Snapshot Find(IReadOnlyList<Snapshot> snapshots, string text)
    {
        if (text == "latest" || text.StartsWith("latest~", StringComparison.Ordinal))
        {
            int back = 0;
            if (text.Length > 7 && !int.TryParse(text.AsSpan(7), NumberStyles.None, CultureInfo.InvariantCulture, out back))
            {
                throw new BackupIQException(ErrorCodes.Usage, $"'{text}' names no snapshot.", "Use latest, or latest~2 for the third newest.");
            }

            return back < snapshots.Count
                ? snapshots[snapshots.Count - 1 - back]
                : throw new BackupIQException(ErrorCodes.SnapshotNotFound, $"There are only {snapshots.Count} snapshots, so none is '{text}'.");
        }

        if (text.StartsWith('@'))
        {
            if (!DateTimeOffset.TryParse(text.AsSpan(1), CultureInfo.InvariantCulture, DateTimeStyles.AssumeLocal, out DateTimeOffset moment))
            {
                throw new BackupIQException(ErrorCodes.Usage, $"'{text}' is no moment.", "Write it as @2026-11-22T10:00, with a zone if it is not this machine's.");
            }

            return snapshots.LastOrDefault(s => s.Time <= moment)
                ?? throw new BackupIQException(ErrorCodes.SnapshotNotFound, $"No snapshot is as old as {moment:u}.");
        }

        Snapshot[] found = [.. snapshots.Where(s => s.Name == text || (text.Length >= 4 && s.Id.ToString().StartsWith(text, StringComparison.Ordinal)))];
        return found.Length switch
        {
            1 => found[0],
            0 => throw new BackupIQException(ErrorCodes.SnapshotNotFound, $"There is no snapshot '{text}'."),
            _ => throw new BackupIQException(ErrorCodes.SnapshotAmbiguous, $"'{text}' names {found.Length} snapshots."),
        };
    }

    internal static byte[] Write(Snapshot snapshot) => JsonSerializer.SerializeToUtf8Bytes(snapshot, SnapshotJson.Default.Snapshot);

    // As it was at that moment: what was forgotten later was still shown.
    private bool IsShown(Snapshot snapshot) => !snapshot.Annotations.Forgettings.Any(forgetting => at is null || forgetting.Time <= at);

    /// <summary>Reads a document. What it leaves out is empty; what must be there is.</summary>
    /// <exception cref="CorruptDataException">It is not a snapshot's.</exception>
    internal static Snapshot Read(byte[] json, SessionId id)
    {
        try
        {
            Snapshot read = JsonSerializer.Deserialize(json, SnapshotJson.Default.Snapshot) ?? throw new CorruptDataException($"Snapshot {id} is empty.");

            // The generated reader makes null of what the document leaves out, whatever the property begins with.
            Snapshot snapshot = read with { Id = id, Username = read.Username ?? "", Tags = read.Tags ?? [], ProgramVersion = read.ProgramVersion ?? "" };
            _ = snapshot.TreeId;
            bool isWhole = snapshot.Paths.All(static path => path is not null) && snapshot.Tags.All(static tag => tag is not null)
                && (snapshot.RawPaths ?? []).All(static path => path is not null);
            return isWhole ? snapshot : throw new CorruptDataException($"Snapshot {id} is malformed.");
        }
        catch (JsonException e)
        {
            throw new CorruptDataException($"Snapshot {id} is malformed.", e);
        }
    }

    private string? DamageOf(string text) => text.Length < 4 ? null
        : _damaged.Where(damaged => damaged.IsSnapshot && damaged.Id.ToString().StartsWith(text, StringComparison.Ordinal)).Select(static damaged => damaged.Finding).FirstOrDefault();

    private async Task<IReadOnlyList<Snapshot>> ListAsync(bool partial, CancellationToken cancellationToken)
    {
        List<Snapshot> snapshots = [];
        await foreach (SnapshotObject stored in SnapshotObjects.ReadAllAsync(repository, partial, cancellationToken))
        {
            try
            {
                Snapshot snapshot = Read(stored.Document ?? throw new CorruptDataException(stored.Damage), stored.Session);
                if (at is null || (snapshot.Ended > snapshot.Time ? snapshot.Ended : snapshot.Time) <= at)
                {
                    int number = partial ? RepositoryLayout.PartialNumber(stored.Name) : 0;
                    snapshots.Add(snapshot with { StoredAt = stored.StoredAt, OwnTags = snapshot.Tags, PartialNumber = number });
                }
            }
            catch (CorruptDataException e)
            {
                _damaged.Add((stored.Session, true, $"Snapshot {stored.Session.ToString()[..8]} ({stored.Name}) is damaged: {e.Message}"));
            }
        }

        // The partial snapshots of a run have one time.
        snapshots.Sort(static (a, b) => a.Time != b.Time ? a.Time.CompareTo(b.Time) : a.Id != b.Id ? a.Id.CompareTo(b.Id) : a.PartialNumber.CompareTo(b.PartialNumber));
        return snapshots;
    }
}

/// <summary>Text of paths that are bytes.</summary>
public static class PathText
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Whether the bytes are UTF-8.</summary>
    public static bool IsUtf8(ReadOnlySpan<byte> bytes) => System.Text.Unicode.Utf8.IsValid(bytes);

    /// <summary>The text for people: what is not UTF-8 shows as U+FFFD.</summary>
    public static string Show(ReadOnlySpan<byte> bytes) => Encoding.UTF8.GetString(bytes);

    /// <summary>The bytes of a text.</summary>
    public static byte[] Bytes(string text) => Strict.GetBytes(text);
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(Snapshot))]
[JsonSerializable(typeof(AnnotationDocument))]
[JsonSerializable(typeof(Retention.PlanDocument))]
internal sealed partial class SnapshotJson : JsonSerializerContext;
