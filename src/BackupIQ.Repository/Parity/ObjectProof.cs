using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Parity;

/// <summary>Tells whether the bytes of an object are those that were put, whatever kind of object it is.</summary>
internal static class ObjectProof
{
    /// <summary>The largest object other than a pack.</summary>
    public const int MaxSize = SealedObject.MaxSize;

    /// <summary>The id of the pack whose name this is; null for other objects.</summary>
    public static PackId? PackOf(StorageKey key)
    {
        string name = key.Value;
        bool isPack = name.StartsWith(RepositoryLayout.DataPackPrefix, StringComparison.Ordinal) || name.StartsWith(RepositoryLayout.MetadataPackPrefix, StringComparison.Ordinal);
        return isPack && PackId.TryParse(name.AsSpan(name.LastIndexOf('/') + 1), out PackId id) ? id : null;
    }

    /// <summary>What is wrong with an object other than a pack, half a sentence; null when its seal or its checksum holds.</summary>
    public static string? ProblemOf(BackupRepository repository, StorageKey key, ReadOnlySpan<byte> bytes)
    {
        if (key.Value.StartsWith(RepositoryLayout.ConfigurationPrefix, StringComparison.Ordinal) || key.Value.StartsWith(RepositoryLayout.KeyPrefix, StringComparison.Ordinal))
        {
            return HeadedObject.TryParse(bytes, out _, out _, out string problem) ? null : problem;
        }

        if (!SealedObject.TryPeekKind(bytes, out ObjectKind kind))
        {
            return "it is not an object that this version knows";
        }

        try
        {
            SealedObject.Open(repository.Keys, kind, key, bytes);
            return null;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return DamageReading.Problem(key.Value, e);
        }
    }
}
