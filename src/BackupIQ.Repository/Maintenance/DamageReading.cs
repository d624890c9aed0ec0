using BackupIQ.Primitives;

namespace BackupIQ.Repository.Maintenance;

/// <summary>Tells failures that mean "this object is damaged" from those that mean "the storage cannot be reached".</summary>
internal static class DamageReading
{
    /// <summary>
    /// Whether a check goes on after this failure and tells of the object. A flipped byte may land in a format, source or epoch number, so
    /// "too new" and "no such key" are damage here as well; a read that the storage refuses for good is a bad sector.
    /// </summary>
    public static bool IsDamage(BackupIQException exception) =>
        exception.Code == ErrorCodes.CorruptData || exception.Code == ErrorCodes.UnsupportedFormat || exception.Code == ErrorCodes.KeyDamaged ||
        exception.Code == ErrorCodes.StorageObjectNotFound || exception.Code == ErrorCodes.Storage || exception.Code == ErrorCodes.ChunkMissing;

    /// <summary>The failure as half a sentence that follows the object's name.</summary>
    public static string Problem(string objectName, BackupIQException exception)
    {
        string message = exception.Message.Replace($"{objectName}: ", "", StringComparison.Ordinal).TrimEnd('.');
        return message.Length > 0 && char.IsUpper(message[0]) && (message.Length < 2 || !char.IsUpper(message[1]))
            ? char.ToLowerInvariant(message[0]) + message[1..]
            : message;
    }
}
