namespace BackupIQ.Testing.Servers;

/// <summary>A server that goes away while clients use it, and comes back.</summary>
public interface IServerControl
{
    /// <summary>It does nothing any more: its connections stay, and nobody answers (SIGSTOP).</summary>
    void Pause();

    /// <summary>It goes on.</summary>
    void Continue();

    /// <summary>It ends without a chance to do anything more.</summary>
    void Kill();

    /// <summary>It is there again, at the same address, with what it had stored; returns when it answers.</summary>
    Task StartAgainAsync();
}
