using System.Globalization;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>What became of a session.</summary>
internal enum SessionState
{
    /// <summary>It may still be at work.</summary>
    Open,

    /// <summary>It said itself that nothing more will come.</summary>
    Ended,

    /// <summary>It has committed. Should its snapshot be removed, it counts as open again until it has ended: a retry of the commit may come.</summary>
    Committed,

    /// <summary>Somebody took it for dead, and it cannot commit any more. Other puts of it may still come.</summary>
    Fenced,
}

/// <summary>The objects of one session, as a listing shows them.</summary>
internal sealed class SessionObjects
{
    public bool IsAnnounced { get; set; }

    public bool HasEnd { get; set; }

    public bool HasFence { get; set; }

    /// <summary>The number of the last beat; 0 when there is none.</summary>
    public long LastBeat { get; set; }

    /// <summary>When the storage got the last sign of it, by the storage's clock.</summary>
    public DateTimeOffset LastSign { get; set; }

    public List<StorageKey> Beats { get; } = [];
}

/// <summary>A listing of all sessions.</summary>
internal sealed class SessionTable
{
    private readonly Dictionary<SessionId, SessionObjects> _sessions = [];

    private SessionTable()
    {
    }

    public IReadOnlyDictionary<SessionId, SessionObjects> Sessions => _sessions;

    public IEnumerable<SessionId> Announced => _sessions.Where(static s => s.Value.IsAnnounced).Select(static s => s.Key);

    public bool IsAnnounced(SessionId session) => _sessions.TryGetValue(session, out SessionObjects? objects) && objects.IsAnnounced;

    public static async Task<SessionTable> ListAsync(BackupRepository repository, CancellationToken cancellationToken)
    {
        SessionTable table = new();
        await foreach (StoredObject stored in repository.Storage.ListAsync(RepositoryLayout.SessionPrefix, cancellationToken))
        {
            table.Add(stored.Key, stored.StoredAt);
        }

        return table;
    }

    // Names of no form that this version knows are left alone.
    private void Add(StorageKey key, DateTimeOffset storedAt)
    {
        if (!RepositoryLayout.TryParseSession(key, out SessionId session, out ReadOnlySpan<char> part))
        {
            return;
        }

        if (!_sessions.TryGetValue(session, out SessionObjects? objects))
        {
            objects = new SessionObjects();
            _sessions.Add(session, objects);
        }

        objects.LastSign = storedAt > objects.LastSign ? storedAt : objects.LastSign;
        switch (part)
        {
            case RepositoryLayout.OpenPart:
                objects.IsAnnounced = true;
                break;
            case RepositoryLayout.EndPart:
                objects.HasEnd = true;
                break;
            case RepositoryLayout.FencePart:
                objects.HasFence = true;
                break;
            default:
                if (part.StartsWith(RepositoryLayout.BeatPart) &&
                    long.TryParse(part[RepositoryLayout.BeatPart.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out long number))
                {
                    objects.LastBeat = Math.Max(objects.LastBeat, number);
                    objects.Beats.Add(key);
                }

                break;
        }
    }
}
