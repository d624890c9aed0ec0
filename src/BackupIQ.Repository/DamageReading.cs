using BackupIQ.Primitives;

namespace BackupIQ.Repository;

/// <summary>Tells failures that mean "this object is damaged" from those that mean "the storage cannot be reached".</summary>
public static class DamageReading
{
    /// <summary>
    /// Whether whoever reads many objects tells of this one and goes on with the next. A flipped byte may land in a format, source or epoch
    /// number, so "too new" and "no such key" count as well; a read that the storage refuses for good is a bad sector.
    /// </summary>
    public static bool IsDamage(BackupIQException exception) =>
        exception.Code == ErrorCodes.CorruptData || exception.Code == ErrorCodes.UnsupportedFormat || exception.Code == ErrorCodes.KeyDamaged ||
        exception.Code == ErrorCodes.StorageObjectNotFound || exception.Code == ErrorCodes.Storage || exception.Code == ErrorCodes.ChunkMissing;

    /// <summary>The failure as half a sentence that follows the object's name.</summary>
    internal static string Problem(string objectName, BackupIQException exception)
    {
        string message = exception.Message.Replace($"{objectName}: ", "", StringComparison.Ordinal).TrimEnd('.');
        return message.Length > 0 && char.IsUpper(message[0]) && (message.Length < 2 || !char.IsUpper(message[1]))
            ? char.ToLowerInvariant(message[0]) + message[1..]
            : message;
    }
}
