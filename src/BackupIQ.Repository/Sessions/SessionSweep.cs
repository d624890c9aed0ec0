using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;

namespace BackupIQ.Repository.Sessions;

/// <summary>
/// Removes what dead sessions left in the spool: files that carry a session's name whose process is gone. A file of a living session, or
/// of one that cannot be judged, stays until it is a day old.
/// </summary>
internal static class SessionSweep
{
    private static readonly TimeSpan Unjudged = TimeSpan.FromDays(1);

    public static async Task RunAsync(
        BackupRepository repository, string spool, TimeProvider time, CancellationToken cancellationToken)
    {
        Dictionary<SessionId, bool> dead = [];
        foreach (string path in Directory.EnumerateFiles(spool))
        {
            string name = Path.GetFileName(path);
            if (name.Length < 2 * SessionId.Size || !SessionId.TryParse(name.AsSpan(0, 2 * SessionId.Size), out SessionId session))
            {
                continue;
            }

            if (!dead.TryGetValue(session, out bool isDead))
            {
                isDead = await IsDeadAsync(repository, session, cancellationToken);
                dead.Add(session, isDead);
            }

            if (isDead || time.GetUtcNow().UtcDateTime - File.GetLastWriteTimeUtc(path) > Unjudged)
            {
                File.Delete(path);
            }
        }
    }

    private static async Task<bool> IsDeadAsync(BackupRepository repository, SessionId session, CancellationToken cancellationToken)
    {
        try
        {
            return await repository.TryReadObjectAsync(ObjectKind.SessionOpen, RepositoryLayout.SessionOpen(session), cancellationToken) is { } json
                && JsonSerializer.Deserialize(json, SessionJson.Default.SessionDocument) is { } document
                && ProcessIdentity.IsGone(document);
        }
        catch (Exception e) when (e is BackupIQException or JsonException)
        {
            return false;
        }
    }
}
