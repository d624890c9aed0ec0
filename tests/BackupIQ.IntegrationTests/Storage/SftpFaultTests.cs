using System.Net;
using BackupIQ.Storage;
using BackupIQ.Storage.Local;
using BackupIQ.Storage.Remote.Rclone;
using BackupIQ.Testing.Network;
using BackupIQ.Testing.Servers;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>
/// SFTP, through rclone to OpenSSH, with a bad line between those two. SSH seals each of its packets, so that a changed byte ends the connection; what is read is
/// what was sent.
/// </summary>
public sealed class SftpFaultTests(SharedSsh ssh) : StorageFaultTests, IClassFixture<SharedSsh>
{
    /// <inheritdoc/>
    protected override int Scripts => 24;

    /// <summary>Each has an rclone of its own.</summary>
    protected override int ScriptsAtOnce => 12;

    /// <summary>A connection is made in some ten turns, and a call takes some five.</summary>
    protected override double Share => 0.04;

    /// <summary>Most of what is said is shorter than a head of HTTP.</summary>
    protected override int EarlyBytes => 100;

    /// <inheritdoc/>
    protected override IReadOnlyList<ProxyFaultKind> Kinds => TcpFaultProxy.Kinds;

    /// <inheritdoc/>
    protected override string Secret => File.ReadAllLines(ssh.Server!.Key)[1];

    /// <inheritdoc/>
    protected override bool AreReadsChecked => true;

    private protected override bool SaysSilenceInItsUrl => false;

    private protected override IReadOnlyDictionary<string, string> Environment { get; } = new Dictionary<string, string>();

    private protected override ValueTask<IPEndPoint> ServerAsync()
    {
        ServerProcess.Require(SshServer.IsInstalled, SshServer.Missing);
        return ValueTask.FromResult(new IPEndPoint(IPAddress.Loopback, ssh.Server!.Port));
    }

    private protected override FaultProxy ProxyBefore(IPEndPoint server) => new TcpFaultProxy(server, static _ => ProxyFault.None);

    private protected override string UrlAt(IPEndPoint server, string place, string prefix) => ssh.Server!.UrlBy(server.Port, $"{place}/{prefix}");

    private protected override async Task<IStorageBackend> ConnectAsync(IPEndPoint server, string place, string prefix) =>
        await RcloneBackend.ConnectAsync(UrlAt(server, place, prefix), TimeProvider.System, TestContext.Current.CancellationToken);

    /// <summary>What the server's own disk holds.</summary>
    private protected override Task<IStorageBackend> ConnectBehindAsync(string place, string prefix) =>
        Task.FromResult<IStorageBackend>(LocalBackend.Create(Path.Combine(ssh.Server!.Root, place, prefix), new LocalOptions(), TimeProvider.System));
}
