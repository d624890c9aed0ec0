using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres;

/// <summary>A part of a log; null is its beginning, or its end.</summary>
internal readonly record struct WalRange(Lsn? From, Lsn? To)
{
    /// <exception cref="BackupIQException"><c>Usage</c>: a place is none.</exception>
    public static WalRange Of(WalQuery query) => new(Place(query.From), Place(query.To));

    /// <summary>Whether a place is in it.</summary>
    public bool Holds(Lsn place) => (From is not { } from || place >= from) && (To is not { } to || place < to);

    /// <summary>Whether a file has something of it; histories have where it is all.</summary>
    public bool Touches(WalFileName name, uint segmentSize) => name.Kind == WalFileKind.History
        ? From is null && To is null
        : name.Fits(segmentSize) && (From is not { } from || name.StartOf(segmentSize) + segmentSize > from) && (To is not { } to || name.StartOf(segmentSize) < to);

    private static Lsn? Place(string? text) => text is null ? null
        : Lsn.TryParse(text, out Lsn place) ? place
        : throw new BackupIQException(ErrorCodes.Usage, $"'{text}' is no place in a log", "Write it as the server does: 0/3000028.");
}
