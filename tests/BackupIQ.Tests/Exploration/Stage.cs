using BackupIQ.Engine.Maintenance;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Maintenance.Collection;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;
using BackupIQ.Tests.Engine;

namespace BackupIQ.Tests.Exploration;

/// <summary>
/// Where the runs of one scenario take place: the threads of the actors, what each is given, and the state from which every run begins. Ids and
/// salts are numbered instead of random, so that the same choices lead to the same run.
/// </summary>
internal sealed class Stage : IDisposable
{
    private static readonly RepositoryId Id = RepositoryId.Read(Convert.FromHexString("101112131415161718191a1b1c1d1e1f"));
    private static readonly byte[] Content = [.. Enumerable.Range(0, 400).Select(static i => (byte)(i * 7))];

    private readonly Scenario _scenario;
    private readonly Player[] _players;
    private readonly Actor[] _actors;
    private readonly Player _janitor;
    private readonly string _folder;
    private readonly Dictionary<string, ExploredObject> _start;
    private readonly Promise _promise;
    private Execution _execution = null!;
    private bool _isOver;

    public Stage(Scenario scenario, bool readsAreSteps)
    {
        _scenario = scenario;
        _folder = Directory.CreateDirectory(Path.Combine(Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath(), $"backupiq-stage-{Guid.NewGuid():n}")).FullName;
        RepositoryConfiguration configuration = Configuration(scenario.CommitsByName);
        Player founder = new(this, new Actor(15, "before"), Role.Writer, configuration, readsAreSteps: false);
        _promise = new Promise(founder.Keys, scenario.CommitsByName);
        _start = Prepare(founder);
        _players = [.. scenario.Roles.Select((role, i) => new Player(this, new Actor(i, $"{role.ToString().ToLowerInvariant()} {i}"), role, configuration, readsAreSteps))];
        _actors = [.. _players.Select(static p => p.Actor)];
        _janitor = new Player(this, new Actor(Afterwards, "afterwards"), Role.Collector, configuration, readsAreSteps: false);
        foreach (Player player in _players.Append(_janitor))
        {
            player.Start();
        }
    }

    public Scenario Scenario => _scenario;

    /// <summary>A snapshot that was reported as committed and is not there, though nobody removes any; null: none.</summary>
    public string? Betrayed(Execution execution) => _scenario.Roles.Contains(Role.ForgetAny)
        ? null
        : _players.SelectMany(static p => p.Reported).Where(id => !execution.Store.Contains($"s/{id}"))
            .Select(static id => $"Snapshot {id} was reported and is not there.").FirstOrDefault();

    /// <summary>The number of the actor who comes when everything is over, and how its sessions' names begin.</summary>
    public const int Afterwards = 14;
    public const string AfterwardsSession = "e000000000000e";

    public static SessionId FirstSnapshot { get; } = SessionOf(15, 0);

    public Execution Begin(Func<Execution, Choice?> choose)
    {
        ExploredStore store = new(_start, _scenario.ConditionalPut, _scenario.ListingLag);
        _execution = new Execution(_actors, store, choose, _promise.Broken);
        foreach (Player player in _players)
        {
            player.Reset(_execution);
        }

        return _execution;
    }

    /// <summary>
    /// When a run has come to its end: prunes what it has left behind, twice, and says what is still there that nobody needs. Null: nothing.
    /// </summary>
    public string? CleanUp(Execution execution)
    {
        for (int round = 0; round < 2; round++)
        {
            Execution alone = new([_janitor.Actor], execution.Store, static _ => new Choice(0, Variant.Plain, 0), _promise.Broken);
            _janitor.Reset(alone, sessions: 10 + round);
            alone.Run();
            if (alone.Violation is { } violation)
            {
                return $"The prune afterwards: {violation}\n{alone.Trace}";
            }
        }

        return _promise.LeftOver(execution.Store);
    }

    public void Dispose()
    {
        _isOver = true;
        foreach (Player player in _players.Append(_janitor))
        {
            player.Actor.Begin.Release();
            player.Join();
        }

        Directory.Delete(_folder, recursive: true);
    }

    private static SessionId SessionOf(int actor, int number) => new(0xE000_0000_0000_0000 + ((ulong)actor << 8) + (ulong)number, 1);

    private static RepositoryConfiguration Configuration(bool commitsByName)
    {
        CreateOptions options = new() { KeyFile = Secret.Random(32), RecoveryKit = false };
        using RepositoryKeys _ = RepositoryKeys.Create(RepositoryId.New());
        RepositoryConfiguration made = BackupRepository.CreateAsync(new MemoryBackend(TimeProvider.System), options, TimeProvider.System, CancellationToken.None)
            .GetAwaiter().GetResult().Repository.Configuration;
        return made with { Settings = made.Settings with { Commit = commitsByName ? ConfigurationSettings.CommitByName : ConfigurationSettings.CommitByConfirmation } };
    }

    private Dictionary<string, ExploredObject> Prepare(Player founder)
    {
        ExploredStore store = new(new Dictionary<string, ExploredObject>(), _scenario.ConditionalPut, TimeSpan.Zero);
        Execution alone = new([founder.Actor], store, static _ => new Choice(0, Variant.Plain, 0), static _ => null);
        founder.Reset(alone);
        founder.Start();
        alone.Run();
        if (_scenario.Beginning == Beginning.StoredTwice)
        {
            // A second session that has seen nothing of the first.
            Dictionary<string, ExploredObject> first = store.Names.ToDictionary(static n => n, n => store.Find(n)!);
            store = new(new Dictionary<string, ExploredObject>(), _scenario.ConditionalPut, TimeSpan.Zero);
            alone = new([founder.Actor], store, static _ => new Choice(0, Variant.Plain, 0), static _ => null);
            founder.Reset(alone, sessions: 1);
            alone.Run();
            foreach ((string name, ExploredObject item) in first)
            {
                store.Put(name, item, isLate: false);
            }

            store.Delete($"s/{SessionOf(15, 1)}");
            store.Delete($"a/{SessionOf(15, 1)}/confirmed");
        }

        if (_scenario.Beginning is Beginning.ForgottenAndMarked or Beginning.NeededAndMarked)
        {
            foreach (string pack in store.Names.Where(static n => n[0] is 'd' or 'm').ToArray())
            {
                store.Put("g/" + pack[5..], new ExploredObject([1]), isLate: false);
            }
        }

        if (_scenario.Beginning is Beginning.Forgotten or Beginning.ForgottenAndMarked)
        {
            store.Delete($"s/{FirstSnapshot}");
            store.Delete($"a/{FirstSnapshot}/confirmed");
        }

        _isOver = true;
        founder.Actor.Begin.Release();
        founder.Join();
        _isOver = false;
        return store.Names.ToDictionary(static n => n, n => store.Find(n)!);
    }

    /// <summary>An actor with its thread and its own view of the repository.</summary>
    private sealed class Player
    {
        private readonly Stage _stage;
        private readonly Role _role;
        private readonly ActorStorage _storage;
        private readonly StandingTime _time;
        private readonly BackupRepository _repository;
        private readonly Thread _thread;
        private readonly List<SessionId> _reported = [];
        private ulong _salts;
        private int _sessions;

        public Player(Stage stage, Actor actor, Role role, RepositoryConfiguration configuration, bool readsAreSteps)
        {
            _stage = stage;
            _role = role;
            Actor = actor;
            _storage = new ActorStorage(actor, Directory.CreateDirectory(Path.Combine(stage._folder, actor.Index.ToString())).FullName) { ReadsAreSteps = readsAreSteps };
            _time = new StandingTime(actor, _storage);
            Keys = new RepositoryKeys(Id, [new(1, FixedBytes(0x11))], FixedBytes(0x33), FixedBytes(0x44))
            {
                NewSalt = () => new Salt((ulong)actor.Index, ++_salts, 0, 0),
            };
            _repository = BackupRepository.Of(_storage, Keys, configuration, _time);
            _thread = new Thread(Loop) { IsBackground = true, Name = actor.Name };
        }

        public Actor Actor { get; }

        public RepositoryKeys Keys { get; }

        /// <summary>Snapshots of which it told its user that they are there.</summary>
        public IReadOnlyList<SessionId> Reported => _reported;

        public void Start() => _thread.Start();

        public void Join() => _thread.Join();

        public void Reset(Execution execution, int sessions = 0)
        {
            Actor.Reset();
            _salts = (ulong)sessions * 1000;
            _sessions = sessions;
            _reported.Clear();
            _storage.Execution = execution;
            foreach (string left in Directory.EnumerateFiles(_storage.SpoolFolder!))
            {
                File.Delete(left);
            }
        }

        private static byte[] FixedBytes(byte value)
        {
            byte[] bytes = new byte[32];
            Array.Fill(bytes, value);
            return bytes;
        }

        private void Loop()
        {
            while (true)
            {
                Actor.Begin.Wait();
                if (_stage._isOver)
                {
                    return;
                }

                Execution execution = _storage.Execution;
                try
                {
                    PlayAsync().GetAwaiter().GetResult();
                }
                catch (Exception e) when (execution.IsClosed || IsExpected(e))
                {
                    // The run is over, or this is how such an actor ends: a failure that its user sees.
                }
#pragma warning disable CA1031 // Whatever else it is, it is what the exploration looks for.
                catch (Exception e)
                {
                    execution.Fail(Actor, e);
                }
#pragma warning restore CA1031

                execution.Leave(Actor);
            }
        }

        private static bool IsExpected(Exception e) =>
            e is BackupIQException known && (known.Code == ErrorCodes.StorageConnection || known.Code == ErrorCodes.SessionFenced);

        private Task PlayAsync() => _role switch
        {
            Role.Writer => WriteAsync(),
            Role.Collector => PruneAsync(),
            Role.ContraryCollector => PruneAsync(),
            Role.DoubleCollector => PruneTwiceAsync(),
            Role.Forget => SnapshotObjects.RemoveAsync(_repository, FirstSnapshot, CancellationToken.None),
            _ => ForgetAnyAsync(),
        };

        private async Task WriteAsync()
        {
            // Fenced: another session, everything looked up again.
            if (!await TryBackUpAsync())
            {
                await TryBackUpAsync();
            }
        }

        private async Task<bool> TryBackUpAsync()
        {
            UploadOptions options = new() { Hostname = "w", Compression = "off", Connections = 1, IndexEvery = long.MaxValue, Id = NextSession() };
            await using UploadSession session = await UploadSession.OpenAsync(_repository, options, null, _time, CancellationToken.None);
            ChunkId tree;
            using (FrameWriter data = session.CreateWriter(PackKind.Data))
            using (FrameWriter metadata = session.CreateWriter(PackKind.Metadata))
            {
                ChunkId file = data.Write(Content, ContentHint.Incompressible);
                data.Flush();
                tree = metadata.Write(PageOf(file), ContentHint.Compressible);
                metadata.Flush();
            }

            Snapshot snapshot = new()
            {
                Time = _time.GetUtcNow(),
                Hostname = "w",
                Paths = ["/"],
                Kind = "files",
                Type = SnapshotType.Full,
                Tree = tree.ToString(),
            };
            bool isCommitted = await session.TryCommitAsync(SnapshotStore.Write(snapshot), CancellationToken.None);
            if (isCommitted)
            {
                _reported.Add(session.Id);
            }

            return isCommitted;
        }

        private static byte[] PageOf(ChunkId file)
        {
            TlvWriter page = new();
            page.WriteByte(TreePage.Version);
            page.WriteByte(TreePage.Nodes);
            page.WriteVarint(1);
            page.WriteBlock(SnapshotForge.Node(new Node
            {
                Metadata = new NodeMetadata { Name = "f"u8.ToArray(), Type = NodeType.File, Size = (ulong)Content.Length },
                Content = new FileContent { Kind = ContentKind.Chunks, Profile = 1, Chunks = [new ChunkReference(file, (uint)Content.Length)] },
            }));
            return page.Written.ToArray();
        }

        private async Task PruneTwiceAsync()
        {
            await PruneAsync();
            await PruneAsync();
        }

        private Task PruneAsync() => new PruneRunner(_repository, _time).RunAsync(
            new PruneOptions
            {
                Concurrency = 1,
                Collector = new CollectorOptions
                {
                    Hostname = "c",
                    Compression = "off",
                    Lease = TimeSpan.Zero,
                    Id = NextSession(),
                    Switches = _stage.Scenario.Switches with { PreferOtherHolder = _role == Role.ContraryCollector },
                },
            },
            new PruneProgress(),
            CancellationToken.None);

        private async Task ForgetAnyAsync()
        {
            await foreach (SnapshotObject snapshot in SnapshotObjects.ReadAllAsync(_repository, partial: false, CancellationToken.None))
            {
                await SnapshotObjects.RemoveAsync(_repository, snapshot.Session, CancellationToken.None);
                return;
            }
        }

        private SessionId NextSession() => SessionOf(Actor.Index, _sessions++);
    }
}
