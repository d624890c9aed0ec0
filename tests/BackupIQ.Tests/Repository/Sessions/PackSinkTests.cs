using System.Runtime.InteropServices;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;
using BackupIQ.Storage.Local;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Sessions;

/// <summary>A pack that could not take a frame is nobody's: on a real folder, whose disk is full for one write.</summary>
public sealed partial class PackSinkTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private static readonly byte[] First = Bytes(1, 60_000);
    private static readonly byte[] Second = Bytes(2, 60_000);

    private readonly ScratchFolder _scratch = new();

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public async Task APackWhoseAppendFailedIsNotStoredThoughItWasToBeClosedAndNobodyWaitsForIt()
    {
        await using BackupRepository repository = await CreateAsync();
        ChunkId first;
        await using (UploadSession session = await OpenAsync(repository, new UploadOptions { Hostname = "here", Compression = "off" }))
        {
            using FrameWriter writer = session.CreateWriter(PackKind.Data);
            first = writer.Write(First, ContentHint.Incompressible);
            writer.Flush();

            // A checkpoint closes the pack while a frame is on its way into it.
            OpenPack pack = session.Packs.Reserve(PackKind.Data, out uint counter);
            Task checkpoint = session.FlushAsync(default);
            checkpoint.IsCompleted.ShouldBeFalse();
            using (new FullDisk(pack.Path))
            {
                Should.Throw<BackupIQException>(() => Append(session, pack, counter, Second)).Code.ShouldBe(ErrorCodes.StorageFull);
            }

            (await Should.ThrowAsync<BackupIQException>(() => checkpoint.WaitAsync(Patience))).Code.ShouldBe(ErrorCodes.StorageFull);
            File.Exists(pack.Path).ShouldBeFalse();
        }

        await NothingIsStoredAsync(repository, first);
    }

    [Fact]
    public async Task WhoHasAFrameForAPackThatIsBrokenHearsOfTheFirstFailureAndThePackIsNotStoredWhenItIsFull()
    {
        await using BackupRepository repository = await CreateAsync();
        ChunkId first;
        await using (UploadSession session = await OpenAsync(repository, new UploadOptions { Hostname = "here", Compression = "off", PackSize = 100_000 }))
        {
            using FrameWriter writer = session.CreateWriter(PackKind.Data);
            first = writer.Write(First, ContentHint.Incompressible);
            writer.Flush();
            OpenPack pack = session.Packs.Reserve(PackKind.Data, out uint counter);
            session.Packs.Reserve(PackKind.Data, out uint next).ShouldBeSameAs(pack);
            using (new FullDisk(pack.Path))
            {
                Should.Throw<BackupIQException>(() => Append(session, pack, counter, Second)).Code.ShouldBe(ErrorCodes.StorageFull);
            }

            // There is room again, so that only the mark keeps it from being complete.
            BackupIQException told = Should.Throw<BackupIQException>(() => Append(session, pack, next, Second));
            told.Code.ShouldBe(ErrorCodes.StorageFull);
            (await Should.ThrowAsync<BackupIQException>(() => session.FlushAsync(default).WaitAsync(Patience))).Code.ShouldBe(ErrorCodes.StorageFull);
        }

        await NothingIsStoredAsync(repository, first);
    }

    [Fact]
    public async Task APackThatIsBrokenSaysTheReasonToWhoeverComesAfterwards()
    {
        await using BackupRepository repository = await CreateAsync();
        await using UploadSession session = await OpenAsync(repository, new UploadOptions { Hostname = "here" });
        OpenPack pack = session.Packs.BeginAside(PackKind.Data, []);
        FrameEntry frame = new(0, (uint)Second.Length, (uint)Second.Length - 16, 0, Codec.None, 0, 1);
        using (new FullDisk(pack.Path))
        {
            Should.Throw<BackupIQException>(() => session.Packs.AppendAside(pack, Second, frame, [])).Code.ShouldBe(ErrorCodes.StorageFull);
        }

        Should.Throw<BackupIQException>(() => session.Packs.AppendAside(pack, Second, frame, [])).Code.ShouldBe(ErrorCodes.StorageFull);
        (await Should.ThrowAsync<BackupIQException>(() => session.Packs.StoreAsideAsync(pack))).Code.ShouldBe(ErrorCodes.StorageFull);
        PackSink.Discard(pack);
    }

    private static void Append(UploadSession session, OpenPack pack, uint counter, byte[] bytes)
    {
        FrameEntry frame = new(0, (uint)bytes.Length, (uint)bytes.Length - 16, counter, Codec.None, 0, 1);
        session.Packs.Append(pack, bytes, frame, [new ChunkEntry(default, frame.PlainLength)]);
    }

    private static async Task NothingIsStoredAsync(BackupRepository repository, ChunkId chunk)
    {
        List<string> names = [];
        foreach (string prefix in (string[])["d/", "i/"])
        {
            await foreach (StoredObject stored in repository.Storage.ListAsync(prefix, default))
            {
                names.Add(stored.Key.Value);
            }
        }

        names.ShouldBeEmpty();
        Directory.GetFiles(repository.Storage.SpoolFolder!, "*.pack").ShouldBeEmpty();
        await using UploadSession next = await OpenAsync(repository, new UploadOptions { Hostname = "here", DryRun = true });
        next.Findings.ShouldBeEmpty();
        next.Has(PackKind.Data, chunk).ShouldBeFalse();
    }

    private static Task<UploadSession> OpenAsync(BackupRepository repository, UploadOptions options) =>
        UploadSession.OpenAsync(repository, options, null, TimeProvider.System, default);

    private static byte[] Bytes(int seed, int length)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private async Task<BackupRepository> CreateAsync()
    {
        LocalBackend storage = LocalBackend.Create(_scratch.At("storage"), new LocalOptions(), TimeProvider.System);
        CreateOptions options = new() { KeyFile = Secret.Random(32), RecoveryKit = false };
        return (await BackupRepository.CreateAsync(storage, options, TimeProvider.System, default)).Repository;
    }

    /// <summary>Until it is disposed of, what this process writes to a file that it has open meets a full disk: its descriptor is that of /dev/full.</summary>
    private sealed partial class FullDisk : IDisposable
    {
        private const int WriteOnly = 1;

        private readonly int _file;
        private readonly int _kept;

        public FullDisk(string path)
        {
            _file = Directory.EnumerateFiles("/proc/self/fd").Where(link => new FileInfo(link).LinkTarget == path).Select(static link => int.Parse(Path.GetFileName(link))).Single();
            _kept = Checked(Dup(_file));
            int full = Checked(Open("/dev/full", WriteOnly));
            Checked(Dup2(full, _file));
            Checked(Close(full));
        }

        public void Dispose()
        {
            Checked(Dup2(_kept, _file));
            Checked(Close(_kept));
        }

        private static int Checked(int result)
        {
            result.ShouldBeGreaterThanOrEqualTo(0);
            return result;
        }

        [LibraryImport("libc", EntryPoint = "dup")]
        private static partial int Dup(int file);

        [LibraryImport("libc", EntryPoint = "dup2")]
        private static partial int Dup2(int from, int to);

        [LibraryImport("libc", EntryPoint = "close")]
        private static partial int Close(int file);

        [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
        private static partial int Open(string path, int flags);
    }
}
