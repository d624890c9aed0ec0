using BackupIQ.Primitives;

namespace BackupIQ.Sources.Restic;

/// <summary>Something in a restic repository is not what it should be, or is not there.</summary>
public sealed class ResticDamageException : BackupIQException
{
    /// <summary>Says what is damaged.</summary>
    public ResticDamageException(string message, Exception? inner = null)
        : base(ErrorCodes.CorruptData, message, "Run 'restic check --read-data' on that repository; 'restic repair' may help. What is whole can be imported.", inner)
    {
    }
}
