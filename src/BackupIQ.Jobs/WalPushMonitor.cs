namespace BackupIQ.Jobs;

/// <summary>Hears how a push of a server's log goes. Called from several threads.</summary>
public sealed class WalPushMonitor
{
    /// <summary>What should be told of a file that was stored, as that its server's log is damaged.</summary>
    public Action<string>? OnNotice { get; init; }

    /// <summary>Why a file was not stored ahead; its own call will say it again.</summary>
    public Action<string>? OnAheadFailure { get; init; }
}
