using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Backup;

namespace BackupIQ.Sources.Postgres.Streaming;

/// <summary>How a server is asked for its files.</summary>
public sealed record PostgresStreamOptions
{
    /// <summary>What the backup is called in the server.</summary>
    public required string Label { get; init; }

    /// <summary>A checkpoint at once; else when the next one is due.</summary>
    public required bool Fast { get; init; }

    /// <summary>The folder below which the files lie until they are stored: they take as much space as the server.</summary>
    public required string Spool { get; init; }

    /// <summary>Called with bytes that came; what it returns ends when more may come. Null: they come as fast as they can.</summary>
    public Func<long, CancellationToken, ValueTask>? Throttle { get; init; }

    /// <summary>Hears how many bytes the server says that it sends, and how many came.</summary>
    public Action<long, long>? OnProgress { get; init; }
}

/// <summary>
/// A base backup that a server sent over the network (BASE_BACKUP), whole and compared with what the server says that it sent. Its files are on this machine
/// until it is disposed; a <see cref="PostgresSource"/> stores them under the same paths as those of a server that is read itself.
/// </summary>
public sealed class PostgresStream : IDisposable
{
    private PostgresStream(StreamedFolder folder, BaseBackupBounds bounds)
    {
        Folder = folder;
        Bounds = bounds;
    }

    internal StreamedFolder Folder { get; }

    internal BaseBackupBounds Bounds { get; }

    /// <summary>Receives all files of a server, with the WAL that makes them consistent.</summary>
    /// <exception cref="BackupIQException">
    /// <c>SourceServer</c>: it cannot be reached, the connection ended, or what came is no backup. <c>Authorization</c>: the role may not.
    /// <c>TimelineChanged</c>: a standby was promoted meanwhile. <c>Resource</c>: there is no space for the files.
    /// </exception>
    public static async Task<PostgresStream> ReceiveAsync(PostgresDsn dsn, string? password, PostgresFacts facts, PostgresStreamOptions options, CancellationToken cancellationToken)
    {
        StreamedFolder? folder = null;
        try
        {
            folder = new StreamedFolder(options.Spool);
            await using WireConnection connection = await WireConnection.OpenAsync(dsn, password, cancellationToken);
            BaseBackupReceiver receiver = new(connection, facts.Major, folder) { Throttle = options.Throttle, OnProgress = options.OnProgress };
            return new PostgresStream(folder, await receiver.RunAsync(options.Label, options.Fast, cancellationToken));
        }
        catch (EndOfStreamException e)
        {
            folder?.Dispose();
            throw new BackupIQException(ErrorCodes.SourceServer, $"The server at {dsn.Place} ended the connection in the middle of the backup", null, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            folder?.Dispose();
            throw e.InnerException is System.Net.Sockets.SocketException lost
                ? new BackupIQException(ErrorCodes.SourceServer, $"The connection to the server at {dsn.Place} broke: {lost.Message}", null, e)
                : new BackupIQException(ErrorCodes.Resource, $"The files that the server sends cannot be kept until they are stored: {e.Message}", "Give --spool a folder with as much space as the server takes.", e)
                    .With("path", options.Spool);
        }
        catch
        {
            folder?.Dispose();
            throw;
        }
    }

    /// <summary>Connects as <see cref="ReceiveAsync"/> would, and asks for nothing.</summary>
    /// <exception cref="BackupIQException">As for that.</exception>
    public static async Task TryConnectAsync(PostgresDsn dsn, string? password, CancellationToken cancellationToken)
    {
        await using WireConnection connection = await WireConnection.OpenAsync(dsn, password, cancellationToken);
    }

    /// <inheritdoc/>
    public void Dispose() => Folder.Dispose();

    /// <summary>A text that the server sent at the top of its files; empty: it sent none.</summary>
    internal string ReadText(string name)
    {
        string path = Path.Combine(Folder.Data, name);
        return File.Exists(path) ? File.ReadAllText(path) : "";
    }
}
