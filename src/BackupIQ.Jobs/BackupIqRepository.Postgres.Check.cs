using BackupIQ.Engine.Snapshots;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Sources.Postgres;

namespace BackupIQ.Jobs;

/// <content>What a PostgreSQL server and the repository need from each other.</content>
public sealed partial class BackupIqRepository
{
    /// <summary>
    /// Looks at all that can make a backup into this repository or a recovery from it fail later, and lets the server archive a segment to see that it comes.
    /// What cannot be looked at is a finding; damage in the repository is told.
    /// </summary>
    /// <exception cref="Primitives.BackupIQException">The repository cannot be read.</exception>
    public async Task<IReadOnlyList<PostgresFinding>> CheckPostgresAsync(PostgresCheckRequest request, CancellationToken cancellationToken = default)
    {
        IEnumerable<Snapshot> bases = await ListBasesAsync(request.Server.Name, cancellationToken).ConfigureAwait(false);
        CheckedRepository known = new([.. bases.Select(static snapshot => PostgresDocument.Read(snapshot.Db))], OpenWal(request.Server.Name), request.TestArchive, request.ArchivePatience);
        return await new ServerCheck(request.Server, known, _time).RunAsync(cancellationToken).ConfigureAwait(false);
    }
}
