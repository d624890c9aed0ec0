using System.Globalization;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Sources.Postgres.Streaming;

/// <summary>Between which places of the log a server sent its files.</summary>
/// <param name="Start">Where the WAL that is needed begins.</param>
/// <param name="Timeline">The timeline.</param>
/// <param name="End">Where it ends.</param>
internal sealed record BaseBackupBounds(Lsn Start, uint Timeline, Lsn End);

/// <summary>
/// Has a server send its files by BASE_BACKUP, and puts them into a folder: to 14 an archive for each tablespace, one after the other; from 15 on all in
/// one stream that says what each piece is.
/// </summary>
/// <param name="connection">A connection for replication.</param>
/// <param name="major">The server's version.</param>
/// <param name="folder">Where its files go.</param>
internal sealed class BaseBackupReceiver(WireConnection connection, int major, StreamedFolder folder)
{
    private const string DataCorrupted = "XX001";

    private readonly MemoryStream _manifest = new();
    private TarUnpacker? _archive;
    private bool _isManifest;
    private long _moved;

    /// <summary>Called with bytes that came, before the next ones are taken from the network.</summary>
    public Func<long, CancellationToken, ValueTask>? Throttle { get; init; }

    /// <summary>Hears how many bytes the server says that it will send, and has come.</summary>
    public Action<long, long>? OnProgress { get; init; }

    /// <summary>Asks, and receives all.</summary>
    /// <exception cref="BackupIQException">
    /// <c>SourceServer</c>: the connection ended, or what came is no backup. <c>Authorization</c>: the role may not. <c>TimelineChanged</c>: a standby was
    /// promoted meanwhile.
    /// </exception>
    public async Task<BaseBackupBounds> RunAsync(string label, bool fast, CancellationToken cancellationToken)
    {
        await connection.SendQueryAsync(Command(label, fast), cancellationToken);
        (Lsn start, uint timeline) = ReadPlace(await ReadRowsAsync(cancellationToken));
        IReadOnlyList<string?[]> spaces = await ReadRowsAsync(cancellationToken);
        long total = spaces.Sum(static space => space.Length > 2 && long.TryParse(space[2], NumberStyles.None, CultureInfo.InvariantCulture, out long kilobytes) ? kilobytes << 10 : 0);
        if (major >= 15)
        {
            await ReceiveAsync(hasParts: true, total, cancellationToken);
        }
        else
        {
            foreach (string?[] space in spaces)
            {
                Enter(space.Length > 0 ? space[0] : null);
                await ReceiveAsync(hasParts: false, total, cancellationToken);
            }

            EnterManifest();
            await ReceiveAsync(hasParts: false, total, cancellationToken);
        }

        Leave();
        (Lsn end, uint last) = ReadPlace(await ReadRowsAsync(cancellationToken));
        await FinishAsync(cancellationToken);
        if (last != timeline)
        {
            throw Backup.PostgresSession.Promoted();
        }

        await Task.Run(() => BackupManifest.Verify(_manifest.GetBuffer().AsMemory(0, (int)_manifest.Length), folder.Received), cancellationToken);
        return new BaseBackupBounds(start, timeline, end);
    }

    // The server looks at the checksums itself, and reads a page again that was being written: what it sends of such a page is whole.
    private string Command(string label, bool fast)
    {
        string text = $"'{label.Replace("'", "''", StringComparison.Ordinal)}'";
        return major >= 15
            ? $"BASE_BACKUP ( LABEL {text}, PROGRESS, CHECKPOINT '{(fast ? "fast" : "spread")}', WAL, WAIT 0, TABLESPACE_MAP, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C' )"
            : $"BASE_BACKUP LABEL {text} PROGRESS {(fast ? "FAST " : "")}WAL NOWAIT TABLESPACE_MAP MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'";
    }

    private static (Lsn Place, uint Timeline) ReadPlace(IReadOnlyList<string?[]> rows) =>
        rows is [[{ } place, { } timeline, ..]] && Lsn.TryParse(place, out Lsn lsn) && uint.TryParse(timeline, NumberStyles.None, CultureInfo.InvariantCulture, out uint number)
            ? (lsn, number)
            : throw Wrong("it does not say where in the log it is");

    // A set of rows: what they are like, they themselves, and that they are all.
    private async Task<IReadOnlyList<string?[]>> ReadRowsAsync(CancellationToken cancellationToken)
    {
        const int MostRows = 1_000_000;
        List<string?[]> rows = [];
        while (true)
        {
            WireMessage message = await connection.ReadAsync(cancellationToken);
            switch (message.Kind)
            {
                case 'T':
                    break;
                case 'D' when rows.Count < MostRows:
                    rows.Add(WireConnection.ReadRow(message.Body.Span));
                    break;
                case 'C':
                    return rows;
                default:
                    throw connection.Unexpected(message);
            }
        }
    }

    // One stream of bytes: an archive or the manifest, or parts that say what they are.
    private async Task ReceiveAsync(bool hasParts, long total, CancellationToken cancellationToken)
    {
        WireMessage message = await connection.ReadAsync(cancellationToken);
        if (message.Kind != 'H')
        {
            throw connection.Unexpected(message);
        }

        while ((message = await connection.ReadAsync(cancellationToken)).Kind == 'd')
        {
            if (hasParts)
            {
                Part(message.Body.Span);
            }
            else
            {
                Take(message.Body.Span);
            }

            await PaceAsync(message.Body.Length, total, cancellationToken);
        }

        if (message.Kind != 'c')
        {
            throw connection.Unexpected(message);
        }
    }

    private void Part(ReadOnlySpan<byte> body)
    {
        WireReader reader = new(body);
        switch ((char)reader.Byte())
        {
            case 'n':
                string name = reader.Text();
                Enter(name == "base.tar" ? null : name.EndsWith(".tar", StringComparison.Ordinal) ? name[..^4] : throw Wrong($"it sends an archive that is called '{name}'"));
                break;
            case 'm':
                EnterManifest();
                break;
            case 'd':
                Take(reader.Rest());
                break;
            case 'p':
                break;
            default:
                throw Wrong("it sends a part that is not known");
        }
    }

    private void Enter(string? tablespace)
    {
        Leave();
        if (tablespace is null)
        {
            folder.EnterData();
        }
        else
        {
            folder.EnterTablespace(uint.TryParse(tablespace, NumberStyles.None, CultureInfo.InvariantCulture, out uint oid) ? oid : throw Wrong($"it has a tablespace '{tablespace}'"));
        }

        _archive = new TarUnpacker(folder);
        _isManifest = false;
    }

    private void EnterManifest()
    {
        Leave();
        _isManifest = true;
    }

    private void Leave()
    {
        _archive?.Complete();
        _archive = null;
    }

    private void Take(ReadOnlySpan<byte> bytes)
    {
        if (_archive is not null)
        {
            _archive.Add(bytes);
        }
        else if (_isManifest && _manifest.Length + bytes.Length <= BackupManifest.MostBytes)
        {
            _manifest.Write(bytes);
        }
        else
        {
            throw Wrong("it sends what belongs to nothing");
        }
    }

    private async ValueTask PaceAsync(long bytes, long total, CancellationToken cancellationToken)
    {
        _moved += bytes;
        OnProgress?.Invoke(total, _moved);
        if (Throttle is { } throttle)
        {
            await throttle(bytes, cancellationToken);
        }
    }

    // That pages are damaged it says at the very end, when all was sent: they are named by who stores them.
    private async Task FinishAsync(CancellationToken cancellationToken)
    {
        try
        {
            WireMessage message;
            while ((message = await connection.ReadAsync(cancellationToken)).Kind != 'Z')
            {
                if (message.Kind != 'C')
                {
                    throw connection.Unexpected(message);
                }
            }
        }
        catch (WireException e) when (e.State == DataCorrupted)
        {
        }
    }

    private static BackupIQException Wrong(string what) => new(ErrorCodes.SourceServer, $"What the server sent is no backup: {what}", "Run it again; nothing was committed.");
}
