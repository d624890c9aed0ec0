using System.Text;
using BackupIQ.Engine.Backup;
using BackupIQ.Jobs.Composition;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files;

namespace BackupIQ.Jobs;

/// <summary>
/// A backup that looks at its source already, while the repository is still being opened: deriving a key from a password takes a tenth of a
/// second, in which a source is walked a good way. Of a stream nothing is read before the repository is open. Dispose it after the backup.
/// </summary>
public sealed class BackupBeginning : IDisposable
{
    private BackupBeginning(BackupRequest request, IBackupSource source, DiscoveryPipeline? discovery)
    {
        Request = request;
        Source = source;
        Discovery = discovery;
    }

    /// <summary>What is backed up.</summary>
    public BackupRequest Request { get; }

    internal IBackupSource Source { get; }

    /// <summary>The walk; null where it begins with the backup.</summary>
    internal DiscoveryPipeline? Discovery { get; }

    /// <summary>Begins to look at what <paramref name="request"/> names.</summary>
    /// <param name="request">What is backed up.</param>
    /// <param name="url">The repository that it will go to, which exists: where it lies within the source, it is left out.</param>
    /// <param name="options">As the repository will be opened: its cache is left out likewise.</param>
    /// <param name="time">The clock.</param>
    /// <param name="cancellationToken">Ends the walk.</param>
    /// <exception cref="BackupIQException"><c>SourceNotFound</c>: none of the paths exists. <c>Usage</c>: a pattern is malformed.</exception>
    public static BackupBeginning Begin(
        BackupRequest request, string url, RepositoryOptions? options = null, TimeProvider? time = null, CancellationToken cancellationToken = default)
    {
        IBackupSource source = request.OpenSource(OwnFolders(url, request.OtherRepositories, options ?? new RepositoryOptions()), time ?? TimeProvider.System);
        return new BackupBeginning(
            request, source, source.IsRepeatable ? DiscoveryPipeline.Begin(source, time ?? TimeProvider.System, cancellationToken) : null);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Discovery?.Dispose();
        Source.Dispose();
    }

    private static List<OwnFolder> OwnFolders(string url, IReadOnlyList<string> others, RepositoryOptions options)
    {
        List<OwnFolder> own = [];
        if (StorageLocator.LocalPath(url) is { } path)
        {
            own.Add(new OwnFolder(Encoding.UTF8.GetBytes(path), "the repository"));
        }

        own.AddRange(options.Mirrors.Select(StorageLocator.LocalPath).OfType<string>().Select(static mirror => new OwnFolder(Encoding.UTF8.GetBytes(mirror), "a mirror of the repository")));

        own.AddRange(others.Select(StorageLocator.LocalPath).OfType<string>().Select(static other => new OwnFolder(Encoding.UTF8.GetBytes(other), "another repository")));
        if (options.CacheFolder is { } cache)
        {
            own.Add(new OwnFolder(Encoding.UTF8.GetBytes(cache), "the cache"));
        }

        return own;
    }
}
