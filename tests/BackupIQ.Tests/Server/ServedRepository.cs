using System.Text;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Browsing;
using BackupIQ.Primitives;
using BackupIQ.Testing.Files;

namespace BackupIQ.Tests.Server;

/// <summary>A folder, a repository that it is backed up into, and a view of that.</summary>
internal sealed class ServedRepository : IAsyncDisposable
{
    private readonly Secret _key = Secret.Random(32);
    private BackupIqRepository? _writer;
    private BackupIqRepository? _reader;
    private RepositoryView? _view;

    public ServedRepository()
    {
        Root = Path.Combine(Scratch.Path, "source");
        Directory.CreateDirectory(Root);
    }

    public ScratchFolder Scratch { get; } = new();

    public string Root { get; }

    public string RepositoryPath => Path.Combine(Scratch.Path, "repository");

    /// <summary>Who backs up and maintains; there once something was backed up.</summary>
    public BackupIqRepository Writer => _writer!;

    /// <summary>The clock of the view.</summary>
    public HastyTime Time { get; } = new();

    /// <summary>Damage that was told.</summary>
    public List<string> Damage { get; } = [];

    public string In(params string[] names) => Path.Combine([Root, .. names]);

    /// <summary>Writes a file of random bytes and returns them.</summary>
    public byte[] WriteRandom(string name, int length, int seed)
    {
        byte[] content = new byte[length];
        new Random(seed).NextBytes(content);
        Directory.CreateDirectory(Path.GetDirectoryName(In(name))!);
        File.WriteAllBytes(In(name), content);
        return content;
    }

    public async Task<SnapshotInfo> BackUpAsync(string host = "here", params string[] tags)
    {
        _writer ??= (await BackupIqRepository.CreateAsync(RepositoryPath, new RepositorySecrets { KeyFile = _key }, recoveryKit: false)).Repository;
        return (await _writer.BackupAsync(new BackupRequest { Paths = [Encoding.UTF8.GetBytes(Root)], Host = host, Tags = tags })).Snapshot!;
    }

    /// <summary>The view of all snapshots, or of one, opened with the first call.</summary>
    public async Task<RepositoryView> ViewAsync(ViewRequest? request = null, long memory = 64 << 20)
    {
        if (_view is null)
        {
            RepositoryOptions options = new() { MemoryBudget = memory, OnDamage = Damage.Add };
            _reader = await BackupIqRepository.OpenAsync(RepositoryPath, new RepositorySecrets { KeyFile = _key }, options, Time);
            _view = await _reader.ViewAsync(request ?? new ViewRequest());
        }

        return _view;
    }

    /// <summary>The view of the folder itself in the latest snapshot.</summary>
    public Task<RepositoryView> ViewOfRootAsync(long memory = 64 << 20) =>
        ViewAsync(new ViewRequest { Snapshot = "latest", Path = Encoding.UTF8.GetBytes(Root) }, memory);

    public async ValueTask DisposeAsync()
    {
        if (_view is not null)
        {
            await _view.DisposeAsync();
        }

        if (_reader is not null)
        {
            await _reader.DisposeAsync();
        }

        if (_writer is not null)
        {
            await _writer.DisposeAsync();
        }

        _key.Dispose();
        Scratch.Dispose();
    }

    /// <summary>A clock that can be put forward, its timestamps, too.</summary>
    internal sealed class HastyTime : TimeProvider
    {
        private long _ahead;

        public void Advance(TimeSpan by) => Interlocked.Add(ref _ahead, (long)(by.TotalSeconds * TimestampFrequency));

        public override long GetTimestamp() => base.GetTimestamp() + Interlocked.Read(ref _ahead);
    }
}
