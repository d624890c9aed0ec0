namespace BackupIQ.Jobs.Postgres;

/// <summary>Which two databases are compared, and how deep.</summary>
/// <example>
/// <code>
/// PostgresCompareRequest request = new()
/// {
///     Source = new PostgresServer { Name = "main", Dsn = "host=/run/postgresql user=backup dbname=shop" },
///     Target = new PostgresServer { Name = "restored", Dsn = "host=/tmp/restored user=postgres dbname=shop" },
///     Level = VerifyLevel.Comprehensive,
/// };
/// VerifyReport report = await BackupIqPostgres.ComparePostgresAsync(request, cancellationToken: cancellationToken);
/// Console.WriteLine($"{report.OverallStatus}: {report.PassRate:0.0} %");
/// </code>
/// </example>
public sealed record PostgresCompareRequest
{
    /// <summary>What is right.</summary>
    public required PostgresServer Source { get; init; }

    /// <summary>What is to be like it.</summary>
    public required PostgresServer Target { get; init; }

    /// <summary>The database; null: the one that the DSN names.</summary>
    public string? SourceDatabase { get; init; }

    /// <summary>The database there; null: the one that its DSN names.</summary>
    public string? TargetDatabase { get; init; }

    /// <summary>Every database of the source that takes connections, with the one of the same name; templates are left out.</summary>
    public bool AllDatabases { get; init; }

    /// <summary>Quick: connections and tables. Standard: columns and numbers of rows as well. Comprehensive: indexes, constraints and the content of every row.</summary>
    public VerifyLevel Level { get; init; } = VerifyLevel.Standard;
}
