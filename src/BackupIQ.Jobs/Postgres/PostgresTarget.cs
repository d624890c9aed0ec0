using System.Globalization;
using System.Text.RegularExpressions;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres;

/// <summary>By what a moment in the life of a server is named.</summary>
public enum PostgresTargetKind
{
    /// <summary>The end of the log.</summary>
    Latest,

    /// <summary>As soon as the backup is consistent.</summary>
    Immediate,

    /// <summary>A moment: all that was committed up to it.</summary>
    Time,

    /// <summary>A place in the log.</summary>
    Lsn,

    /// <summary>The end of a transaction.</summary>
    Transaction,

    /// <summary>A restore point.</summary>
    Name,
}

/// <summary>How far a server is recovered.</summary>
/// <example>
/// <code>
/// PostgresRestorePlan plan = await repository.PlanPostgresRestoreAsync(
///     new PostgresRestoreRequest { Server = "main", Folder = "/tmp/look", Target = PostgresTarget.Time("2026-11-26 14:29:59+01") }, cancellationToken);
/// Console.WriteLine($"to {plan.EndLsn}, last commit {plan.LastCommit?.Time}");
/// </code>
/// </example>
public sealed partial record PostgresTarget
{
    private const int LongestName = 63;

    private PostgresTarget(PostgresTargetKind kind, string text)
    {
        Kind = kind;
        Text = text;
    }

    /// <summary>The end of the log.</summary>
    public static PostgresTarget Latest { get; } = new(PostgresTargetKind.Latest, "latest");

    /// <summary>As soon as the backup is consistent.</summary>
    public static PostgresTarget Immediate { get; } = new(PostgresTargetKind.Immediate, "immediate");

    /// <summary>By what it is named.</summary>
    public PostgresTargetKind Kind { get; }

    /// <summary>As it was given.</summary>
    public string Text { get; }

    internal Lsn Place { get; private init; }

    internal uint Number { get; private init; }

    // Of a time with a zone; else Local is meant by the clock of the server.
    internal DateTimeOffset? Moment { get; private init; }

    internal DateTime Local { get; private init; }

    /// <summary>A moment in ISO 8601, as <c>2026-11-26T14:29:59.5+01:00</c>; without a zone it is meant by the server's clock.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none.</exception>
    public static PostgresTarget Time(string text)
    {
        Match match = TimePattern().Match(text.Trim());
        string clock = match.Groups["clock"].Value.Replace(',', '.');
        if (!match.Success || !DateTime.TryParseExact($"{match.Groups["date"].Value} {clock}", Formats(clock), CultureInfo.InvariantCulture, DateTimeStyles.None, out DateTime local))
        {
            throw new BackupIQException(ErrorCodes.Usage, $"'{text}' is no moment", "Write it as 2026-11-26T14:29:59.5+01:00, with Z for UTC; without a zone the server's is meant.");
        }

        return new PostgresTarget(PostgresTargetKind.Time, text) { Local = local, Moment = Offset(match.Groups["zone"].Value, text) is { } offset ? new DateTimeOffset(local, offset) : null };
    }

    /// <summary>A moment.</summary>
    public static PostgresTarget Time(DateTimeOffset moment) =>
        new(PostgresTargetKind.Time, moment.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture)) { Moment = moment };

    /// <summary>A place in the log, as the server writes it: <c>0/3000028</c>.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none.</exception>
    public static PostgresTarget Lsn(string text) => BackupIQ.Sources.Postgres.Wal.Lsn.TryParse(text, out Lsn place) && place != Sources.Postgres.Wal.Lsn.None
        ? new PostgresTarget(PostgresTargetKind.Lsn, text) { Place = place }
        : throw new BackupIQException(ErrorCodes.Usage, $"'{text}' is no place in a log", "Write it as the server does: 0/3000028.");

    /// <summary>A transaction's number, as <c>pg_current_xact_id()</c> tells it.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none.</exception>
    public static PostgresTarget Transaction(string text) =>
        ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong number) && (uint)number >= 3
            ? new PostgresTarget(PostgresTargetKind.Transaction, text) { Number = (uint)number }
            : throw new BackupIQException(ErrorCodes.Usage, $"'{text}' is no transaction's number", "Write the digits that pg_current_xact_id() tells.");

    /// <summary>A restore point's name, as it was given to <c>pg_create_restore_point</c>.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it cannot be one.</exception>
    public static PostgresTarget Name(string text) => text.Length is > 0 and <= LongestName
        ? new PostgresTarget(PostgresTargetKind.Name, text)
        : throw new BackupIQException(ErrorCodes.Usage, "A restore point's name has 1 to 63 characters", "'backupiq pg wal ls NAME --restore-points' lists those that there are.");

    /// <summary>The moment that is meant, by the clock of a server in such a zone where it says none itself.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: the clock showed that twice, or never.</exception>
    internal DateTimeOffset MomentIn(TimeZoneInfo zone) =>
        Moment is { } said ? said
        : zone.IsAmbiguousTime(Local) || zone.IsInvalidTime(Local)
            ? throw new BackupIQException(ErrorCodes.Usage, $"By the clock of {zone.Id} '{Text}' was {(zone.IsInvalidTime(Local) ? "never" : "twice")}", "Give it with its offset, as 2026-10-25T02:30:00+01:00.")
            : new DateTimeOffset(Local, zone.GetUtcOffset(Local));

    private static string[] Formats(string clock) => clock.Length switch
    {
        5 => ["yyyy-MM-dd HH:mm"],
        8 => ["yyyy-MM-dd HH:mm:ss"],
        _ => ["yyyy-MM-dd HH:mm:ss.FFFFFFF"],
    };

    private static TimeSpan? Offset(string zone, string text)
    {
        if (zone.Length == 0)
        {
            return null;
        }

        if (zone is "Z" or "z" or "UTC")
        {
            return TimeSpan.Zero;
        }

        string digits = zone[1..].Replace(":", "", StringComparison.Ordinal);
        int hours = int.Parse(digits[..2], CultureInfo.InvariantCulture);
        int minutes = digits.Length > 2 ? int.Parse(digits[2..], CultureInfo.InvariantCulture) : 0;
        return hours <= 14 && minutes < 60
            ? (zone[0] == '-' ? -1 : 1) * new TimeSpan(hours, minutes, 0)
            : throw new BackupIQException(ErrorCodes.Usage, $"'{text}' has a zone that there is not", "Write it as +01:00.");
    }

    [GeneratedRegex(@"^(?<date>\d{4}-\d\d-\d\d)[T ](?<clock>\d\d:\d\d(:\d\d([.,]\d{1,7})?)?) ?(?<zone>Z|z|UTC|[+-]\d\d(:?\d\d)?)?$", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 1000)]
    private static partial Regex TimePattern();
}
