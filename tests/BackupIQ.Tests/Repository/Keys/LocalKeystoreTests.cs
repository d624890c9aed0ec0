using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Keys;
using BackupIQ.Repository.Keys.Services;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Keys;

public sealed class LocalKeystoreTests : IDisposable
{
    private static readonly KeyContext Context = KeySlot.ContextOf(FixedKeys.Id, GoldenObjects.FollowingSlotId);

    private readonly ScratchFolder _scratch = new();

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public async Task AKeystoreOfAnotherImplementationOpensAndUnwraps()
    {
        string path = _scratch.Write("golden", GoldenObjects.Keystore);
        using LocalKeystore keystore = await OpenAsync(path);
        keystore.ListKeys().Select(static key => (key.Name, key.IsEnabled, key.Version)).ShouldBe([("off", false, 1), ("photos", true, 2)]);
        await using IKeyProvider photos = keystore.Provide("photos");
        photos.Service.ShouldBe("local:303132333435363738393a3b3c3d3e3f");
        using Secret plain = await photos.UnwrapAsync(Convert.FromHexString(GoldenObjects.WrappedByKeystore), Context, CancellationToken.None);
        plain.Bytes.ToArray().ShouldBe(FixedKeys.Filled(0x88));
    }

    [Fact]
    public async Task WhatAnyVersionWrappedUnwrapsAndOnlyForWhatItWasWrapped()
    {
        string path = _scratch.At("keystore");
        using LocalKeystore keystore = await CreateAsync(path);
        await using IKeyProvider key = keystore.Provide(LocalKeystore.DefaultKey);
        using GeneratedKey first = await key.GenerateAsync(Context, CancellationToken.None);
        (await keystore.RotateKeyAsync(LocalKeystore.DefaultKey, CancellationToken.None)).Version.ShouldBe(2);
        byte[] second = await key.WrapAsync(first.Plain, Context, CancellationToken.None);
        foreach (byte[] wrapped in (byte[][])[first.Wrapped, second])
        {
            using Secret plain = await key.UnwrapAsync(wrapped, Context, CancellationToken.None);
            plain.Bytes.SequenceEqual(first.Plain.Bytes).ShouldBeTrue();
            foreach (KeyContext other in (KeyContext[])[Context with { Purpose = "export" }, new("slot", RepositoryId.New().ToString(), Context.Subject)])
            {
                (await Should.ThrowAsync<BackupIQException>(key.UnwrapAsync(wrapped, other, CancellationToken.None))).Code.ShouldBe(ErrorCodes.KeyDamaged);
            }
        }

        await keystore.AddKeyAsync("another", CancellationToken.None);
        await using IKeyProvider another = keystore.Provide("another");
        (await Should.ThrowAsync<BackupIQException>(another.UnwrapAsync(second, Context, CancellationToken.None))).Code.ShouldBe(ErrorCodes.KeyDamaged);
        for (int i = 0; i < second.Length; i++)
        {
            byte[] damaged = [.. second];
            damaged[i] ^= 1;
            (await Should.ThrowAsync<BackupIQException>(key.UnwrapAsync(damaged, Context, CancellationToken.None))).Code.ShouldBe(ErrorCodes.KeyDamaged);
        }
    }

    [Fact]
    public async Task ADisabledKeyIsRefusedAtOnceAlsoByWhoOpenedTheKeystoreBefore()
    {
        string path = _scratch.At("keystore");
        using LocalKeystore keystore = await CreateAsync(path);
        await using IKeyProvider key = keystore.Provide(LocalKeystore.DefaultKey);
        using GeneratedKey generated = await key.GenerateAsync(Context, CancellationToken.None);
        using (LocalKeystore other = await OpenAsync(path))
        {
            await other.EnableKeyAsync(LocalKeystore.DefaultKey, isEnabled: false, CancellationToken.None);
        }

        BackupIQException refused = await Should.ThrowAsync<BackupIQException>(key.UnwrapAsync(generated.Wrapped, Context, CancellationToken.None));
        refused.Code.ShouldBe(ErrorCodes.KeyDisabled);
        refused.Guidance.ShouldContain("keystore enable");
        (await key.DescribeAsync(CancellationToken.None)).IsEnabled.ShouldBeFalse();
        (await Should.ThrowAsync<BackupIQException>(key.GenerateAsync(Context, CancellationToken.None))).Code.ShouldBe(ErrorCodes.KeyDisabled);
        await keystore.EnableKeyAsync(LocalKeystore.DefaultKey, isEnabled: true, CancellationToken.None);
        (await key.UnwrapAsync(generated.Wrapped, Context, CancellationToken.None)).Dispose();
        await using IKeyProvider missing = keystore.Provide("missing");
        (await Should.ThrowAsync<BackupIQException>(missing.GenerateAsync(Context, CancellationToken.None))).Code.ShouldBe(ErrorCodes.KeyNotFound);
    }

    [Fact]
    public async Task EveryUseAndEveryRefusalHasALineInTheLogBeforeItHasItsEffect()
    {
        string path = _scratch.At("keystore");
        using LocalKeystore keystore = await CreateAsync(path);
        await using IKeyProvider key = keystore.Provide(LocalKeystore.DefaultKey);
        using GeneratedKey generated = await key.GenerateAsync(Context, CancellationToken.None);
        (await key.UnwrapAsync(generated.Wrapped, Context, CancellationToken.None)).Dispose();
        await keystore.EnableKeyAsync(LocalKeystore.DefaultKey, isEnabled: false, CancellationToken.None);
        await Should.ThrowAsync<BackupIQException>(key.UnwrapAsync(generated.Wrapped, Context, CancellationToken.None));
        (await Should.ThrowAsync<BackupIQException>(OpenAsync(path, "wrong"))).Code.ShouldBe(ErrorCodes.Authentication);

        // A power cut left half a line: the next one stands on its own.
        File.AppendAllText(keystore.LogPath, "{\"time\":\"20");
        await keystore.EnableKeyAsync(LocalKeystore.DefaultKey, isEnabled: true, CancellationToken.None);
        string[] lines = File.ReadAllLines(keystore.LogPath);
        lines[^2].ShouldBe("{\"time\":\"20");
        JsonElement[] entries = [.. lines.Where(static line => line.EndsWith('}')).Select(static line => JsonDocument.Parse(line).RootElement)];
        entries.Select(static e => $"{e.GetProperty("operation").GetString()} {e.GetProperty("outcome").GetString()}").ShouldBe(
            ["create done", "generate done", "unwrap done", "disable done", "unwrap refused", "open refused", "enable done"]);
        entries[2].GetProperty("repository").GetString().ShouldBe(FixedKeys.Id.ToString());
        entries[2].GetProperty("subject").GetString().ShouldBe(Context.Subject);
        ScratchFolder.Run("stat", "-c", "%a", path, keystore.LogPath).Split('\n', StringSplitOptions.RemoveEmptyEntries).ShouldBe(["600", "600"]);

        File.Delete(keystore.LogPath);
        Directory.CreateDirectory(keystore.LogPath);
        (await Should.ThrowAsync<BackupIQException>(key.UnwrapAsync(generated.Wrapped, Context, CancellationToken.None))).Code.ShouldBe(ErrorCodes.KeyService);
    }

    [Fact]
    public async Task ManyWhoChangeAKeystoreAtOnceLoseNothing()
    {
        string path = _scratch.At("keystore");
        using LocalKeystore keystore = await CreateAsync(path);
        await Task.WhenAll(Enumerable.Range(0, 20).Select(async i =>
        {
            using LocalKeystore own = await OpenAsync(path);
            await own.AddKeyAsync($"key-{i}", CancellationToken.None);
        }));
        keystore.ListKeys().Count.ShouldBe(21);
        File.ReadAllLines(keystore.LogPath).Length.ShouldBe(21);
    }

    [Fact]
    public async Task ANewPasswordTakesThePlaceOfTheOldAndTheKeysStay()
    {
        string path = _scratch.At("keystore");
        using LocalKeystore keystore = await CreateAsync(path);
        await using IKeyProvider key = keystore.Provide(LocalKeystore.DefaultKey);
        using GeneratedKey generated = await key.GenerateAsync(Context, CancellationToken.None);
        using LocalKeystore before = await OpenAsync(path);
        await keystore.ChangePasswordAsync(RepositoryBuilder.Password("new"), CancellationToken.None);
        (await Should.ThrowAsync<BackupIQException>(OpenAsync(path))).Code.ShouldBe(ErrorCodes.Authentication);
        Should.Throw<BackupIQException>(() => before.ListKeys()).Code.ShouldBe(ErrorCodes.Authentication);
        using LocalKeystore after = await OpenAsync(path, "new");
        await using IKeyProvider again = after.Provide(LocalKeystore.DefaultKey);
        (await again.UnwrapAsync(generated.Wrapped, Context, CancellationToken.None)).Dispose();
    }

    [Fact]
    public async Task AnythingButAKeystoreIsRefusedAndSoIsATakenPlace()
    {
        (await Should.ThrowAsync<BackupIQException>(OpenAsync(_scratch.At("nothing")))).Code.ShouldBe(ErrorCodes.KeyNotFound);
        string path = _scratch.Write("text", "not a keystore"u8);
        (await Should.ThrowAsync<BackupIQException>(OpenAsync(path))).Code.ShouldBe(ErrorCodes.KeyDamaged);
        (await Should.ThrowAsync<BackupIQException>(CreateAsync(path))).Code.ShouldBe(ErrorCodes.Configuration);
        for (int bit = 0; bit < GoldenObjects.Keystore.Length * 8; bit += 7)
        {
            byte[] damaged = [.. GoldenObjects.Keystore];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            Should.Throw<BackupIQException>(() => KeystoreFile.Parse(damaged)).Code.ShouldBe(ErrorCodes.KeyDamaged);
        }
    }

    [Fact]
    public async Task AKeyOfAServiceOpensARepositoryAndNoOtherKeyOfItDoes()
    {
        using LocalKeystore keystore = await CreateAsync(_scratch.At("keystore"));
        await keystore.AddKeyAsync("another", CancellationToken.None);
        await using IKeyProvider key = keystore.Provide(LocalKeystore.DefaultKey);
        await using IKeyProvider another = keystore.Provide("another");
        FakeStorage storage = new();
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(storage, RepositoryBuilder.Options(null) with { KeyProvider = key, RecoveryKit = false })).Repository;
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(storage, new Credentials { KeyProvider = key });
        opened.Keys.DataIdKey.SequenceEqual(made.Keys.DataIdKey).ShouldBeTrue();
        (await opened.Slots.ListAsync(CancellationToken.None)).Slots.ShouldHaveSingleItem().Type.ShouldBe("kms");
        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.OpenAsync(storage, new Credentials { KeyProvider = another }))).Code.ShouldBe(ErrorCodes.Authentication);

        // It follows into a new epoch like any other, and its wrapped secret serves no other slot.
        await opened.BeginEpochAsync([], TimeProvider.System, CancellationToken.None);
        await using BackupRepository later = await RepositoryBuilder.OpenAsync(storage, new Credentials { KeyProvider = key });
        later.Keys.CurrentEpoch.ShouldBe((ushort)2);
        await keystore.EnableKeyAsync(LocalKeystore.DefaultKey, isEnabled: false, CancellationToken.None);
        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.OpenAsync(storage, new Credentials { KeyProvider = key }))).Code.ShouldBe(ErrorCodes.KeyDisabled);
    }

    private static Task<LocalKeystore> CreateAsync(string path) =>
        LocalKeystore.CreateAsync(path, RepositoryBuilder.Password("correct horse"), KdfParameters.NewScrypt(1024), TimeProvider.System, CancellationToken.None);

    private static Task<LocalKeystore> OpenAsync(string path, string password = "correct horse") =>
        LocalKeystore.OpenAsync(path, RepositoryBuilder.Password(password), TimeProvider.System, CancellationToken.None);
}
