namespace BackupIQ.Jobs.Postgres;

/// <summary>How a server's log is received.</summary>
/// <example>
/// <code>
/// PostgresServer server = new() { Name = "main", Dsn = "host=/run/postgresql user=backup dbname=postgres" };
/// WalStreamMonitor monitor = new() { OnGap = gap => Console.Error.WriteLine($"lost: {gap.FromLsn} to {gap.ToLsn}") };
/// await repository.StreamWalAsync(new WalStreamRequest { Server = server, Slot = "backupiq_main" }, monitor, cancellationToken: cancellationToken);
/// </code>
/// </example>
public sealed record WalStreamRequest
{
    /// <summary>The server.</summary>
    public required PostgresServer Server { get; init; }

    /// <summary>The replication slot, which is made where it is not there; null: named after the server.</summary>
    public string? Slot { get; init; }

    /// <summary>How often what is in an unfinished segment is made durable. It bounds what is lost with the server; each time costs an object.</summary>
    public TimeSpan PartialEvery { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Only up to where the server is now; and the first failure ends it.</summary>
    public bool Once { get; init; }
}

/// <summary>Where a stream of a server's log stands.</summary>
/// <param name="Timeline">The timeline.</param>
/// <param name="ReceivedLsn">Up to where it is received.</param>
/// <param name="DurableLsn">Up to where it is durable in the repository, and the server knows.</param>
/// <param name="ServerLsn">Up to where the server was known to have it.</param>
/// <param name="LagBytes">How much of that is not durable yet.</param>
/// <param name="Lag">How long ago the first byte that is not durable was received; null: all is.</param>
/// <param name="Bytes">Bytes received since it began.</param>
/// <param name="Segments">Whole segments stored since it began.</param>
public sealed record WalStreamStatus(long Timeline, string ReceivedLsn, string DurableLsn, string ServerLsn, long LagBytes, TimeSpan? Lag, long Bytes, long Segments);

/// <summary>Hears how the receiving of a server's log goes.</summary>
public sealed class WalStreamMonitor
{
    /// <summary>It begins to receive: from which timeline and place on, by which slot.</summary>
    public Action<long, string, string>? OnStreaming { get; init; }

    /// <summary>Where it stands; about once a second.</summary>
    public Action<WalStreamStatus>? OnStatus { get; init; }

    /// <summary>A part of the log is lost, which is recorded. Somebody should make a base backup.</summary>
    public Action<WalGapInfo>? OnGap { get; init; }

    /// <summary>Something that should be told.</summary>
    public Action<string>? OnNotice { get; init; }

    /// <summary>It failed, and is tried again after this time.</summary>
    public Action<string, TimeSpan>? OnRetry { get; init; }
}
