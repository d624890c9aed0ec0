using System.Security.Cryptography;
using System.Text.Json;
using BackupIQ.Keys.Remote;
using BackupIQ.Keys.Remote.Pkcs11;
using BackupIQ.Primitives;
using BackupIQ.Repository.Keys.Services;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.KeyServices;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.KeyServices;

/// <summary>Keys of services through the interface that the repository uses; whole programs with them are in the integration tests.</summary>
public sealed class ServiceKeyTests : IAsyncDisposable
{
    private static readonly KeyContext Mine = new("slot", "101112131415161718191a1b1c1d1e1f", "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");

    private readonly FakeVault _vault = new();
    private readonly ScratchFolder _scratch = new();
    private readonly Dictionary<string, string> _environment = new(StringComparer.Ordinal) { ["VAULT_TOKEN"] = "first" };

    public ServiceKeyTests()
    {
        _vault.Keys["backup"] = new FakeKey();
        _vault.AllowToken("first");
        _environment["VAULT_ADDR"] = _vault.Address.ToString();
    }

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        await _vault.DisposeAsync();
        _scratch.Dispose();
    }

    [Fact]
    public async Task WhatIsWrappedSaysByWhichVersionAndUnwrapsForItsContextAlone()
    {
        await using IKeyProvider key = Open();
        using GeneratedKey made = await key.GenerateAsync(Mine, Stop);
        made.Plain.Bytes.Length.ShouldBe(32);
        System.Text.Encoding.ASCII.GetString(made.Wrapped).ShouldStartWith("vault:v1:");
        _vault.Keys["backup"].Rotate();
        using (Secret again = await key.UnwrapAsync(made.Wrapped, Mine, Stop))
        {
            again.Bytes.SequenceEqual(made.Plain.Bytes).ShouldBeTrue();
        }

        System.Text.Encoding.ASCII.GetString(await key.WrapAsync(made.Plain, Mine, Stop)).ShouldStartWith("vault:v2:");
        foreach (KeyContext other in (KeyContext[])[Mine with { Purpose = "export" }, Mine with { Repository = "00" }, Mine with { Subject = "00" }])
        {
            (await Should.ThrowAsync<BackupIQException>(() => key.UnwrapAsync(made.Wrapped, other, Stop))).Code.ShouldBe(ErrorCodes.KeyDamaged);
        }

        byte[] damaged = [.. made.Wrapped];
        damaged[^20] = damaged[^20] == (byte)'A' ? (byte)'B' : (byte)'A';
        (await Should.ThrowAsync<BackupIQException>(() => key.UnwrapAsync(damaged, Mine, Stop))).Code.ShouldBe(ErrorCodes.KeyDamaged);
        _vault.Violations.ShouldBeEmpty();
    }

    [Fact]
    public async Task ATokenThatWasRotatedIsReadAgain()
    {
        await using IKeyProvider key = Open();
        using GeneratedKey made = await key.GenerateAsync(Mine, Stop);
        _vault.RevokeToken("first");
        _vault.AllowToken("second");
        (await Should.ThrowAsync<BackupIQException>(() => key.UnwrapAsync(made.Wrapped, Mine, Stop))).Code.ShouldBe(ErrorCodes.KeyServiceAuthentication);
        _environment["VAULT_TOKEN"] = "second";
        using Secret again = await key.UnwrapAsync(made.Wrapped, Mine, Stop);
        again.Bytes.SequenceEqual(made.Plain.Bytes).ShouldBeTrue();
    }

    [Fact]
    public async Task AServiceThatIsBusyIsAskedThreeTimesAndNoMore()
    {
        await using IKeyProvider key = Open();
        _vault.Busy = 2;
        using GeneratedKey made = await key.GenerateAsync(Mine, Stop);
        _vault.Busy = 3;
        BackupIQException failure = await Should.ThrowAsync<BackupIQException>(() => key.UnwrapAsync(made.Wrapped, Mine, Stop));
        failure.Code.ShouldBe(ErrorCodes.KeyService);
        _vault.Busy.ShouldBe(0);
    }

    [Fact]
    public async Task AMistypedNameMakesNoKey()
    {
        await using IKeyProvider key = RemoteKeys.Open("vault:transit/keys/bakcup", _environment.GetValueOrDefault, TimeProvider.System);
        (await Should.ThrowAsync<BackupIQException>(() => key.GenerateAsync(Mine, Stop))).Code.ShouldBe(ErrorCodes.KeyNotFound);
        _vault.Operations.ShouldNotContain("encrypt");
    }

    [Fact]
    public async Task DescribingAKeyTellsWhenItWasRotated()
    {
        await using IKeyProvider key = Open();
        _vault.Keys["backup"].Rotate();
        (await key.DescribeAsync(Stop)).ShouldBe(new KeyState(true, DateTimeOffset.FromUnixTimeSeconds(1_780_000_002)));
        key.Service.ShouldBe("vault:transit");
        key.Key.ShouldBe("backup");
    }

    [Fact]
    public async Task EveryUseHasALineInTheLogBeforeAnybodyHasWhatCameOfIt()
    {
        string log = _scratch.At("state", "keys.log");
        await using LoggedKeyProvider key = new(Open(), log, TimeProvider.System);
        using GeneratedKey made = await key.GenerateAsync(Mine, Stop);
        using Secret again = await key.UnwrapAsync(made.Wrapped, Mine, Stop);
        await Should.ThrowAsync<BackupIQException>(() => key.UnwrapAsync(made.Wrapped, Mine with { Subject = "00" }, Stop));
        JsonElement[] lines = [.. (await File.ReadAllLinesAsync(log, Stop)).Select(static line => JsonDocument.Parse(line).RootElement)];
        lines.Select(static line => $"{line.GetProperty("operation").GetString()} {line.GetProperty("outcome").GetString()}").ShouldBe(["generate done", "unwrap done", "unwrap refused"]);
        lines[2].GetProperty("reason").GetString().ShouldBe("KeyDamaged");
        lines[0].GetProperty("service").GetString().ShouldBe("vault:transit");
        lines[0].GetProperty("subject").GetString().ShouldBe(Mine.Subject);

        // Where it cannot be written no key is used.
        File.Delete(log);
        Directory.CreateDirectory(log);
        (await Should.ThrowAsync<BackupIQException>(() => key.UnwrapAsync(made.Wrapped, Mine, Stop))).Code.ShouldBe(ErrorCodes.KeyService);
    }

    [Fact]
    public void ABoundSecretOpensForItsContextAlone()
    {
        byte[] secret = RandomNumberGenerator.GetBytes(32);
        byte[] bound = BoundSecret.Seal(secret, Mine);
        using (Secret? opened = BoundSecret.Open(bound, Mine))
        {
            opened!.Bytes.SequenceEqual(secret).ShouldBeTrue();
        }

        // As docs/format-keys.md has it: format, seven zeros, the hash of the context's lines, the secret.
        bound.Length.ShouldBe(72);
        Convert.ToHexStringLower(bound.AsSpan(0, 8)).ShouldBe("0100000000000000");
        bound.AsSpan(8, 32).SequenceEqual(SHA256.HashData("purpose=slot\nrepository=101112131415161718191a1b1c1d1e1f\nsubject=a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\n"u8)).ShouldBeTrue();
        BoundSecret.Open(bound, Mine with { Subject = "b" }).ShouldBeNull();
        BoundSecret.Open(bound.AsSpan(0, 40), Mine).ShouldBeNull();
        bound[0] = 2;
        BoundSecret.Open(bound, Mine).ShouldBeNull();
    }

    [Theory]
    [InlineData("pkcs11:token=My%20HSM;object=kek;type=secret-key?module-path=/usr/lib/x.so&pin-source=file:/run/pin", "My HSM", "kek", "file:/run/pin")]
    [InlineData("pkcs11:object=%C3%A4;token=a;serial=12?pin-source=/run/pin&module-path=/m.so", "a", "ä", "file:/run/pin")]
    [InlineData("pkcs11:token=a;object=b;type=private?module-path=/m.so&pin-source=env:PIN", "a", "b", "env:PIN")]
    public void AUriOfRfc7512IsRead(string text, string token, string label, string pin)
    {
        Pkcs11Uri uri = Pkcs11Uri.Parse(text);
        uri.Token.ShouldBe(token);
        uri.Label.ShouldBe(label);
        uri.IsRsa.ShouldBe(text.Contains("private", StringComparison.Ordinal));
        uri.Pin!.ToString().ShouldBe(pin);
    }

    [Theory]
    [InlineData("pkcs11:")]
    [InlineData("pkcs11:token=a;object=b")]
    [InlineData("pkcs11:token=a?module-path=/m.so")]
    [InlineData("pkcs11:token=a;object=b;type=cert?module-path=/m.so")]
    [InlineData("pkcs11:token=a;object=b;objekt=c?module-path=/m.so")]
    [InlineData("pkcs11:token=a;token=b;object=b?module-path=/m.so")]
    [InlineData("pkcs11:token=a%0a;object=b?module-path=/m.so")]
    [InlineData("pkcs11:token=a;object=b?module-path=/m.so&pin-value=12345678")]
    public void AUriThatIsWrongIsRefused(string text)
    {
        BackupIQException failure = Should.Throw<BackupIQException>(() => Pkcs11Uri.Parse(text));
        failure.Code.ShouldBe(ErrorCodes.Usage);
        (failure.Message + failure.Guidance).ShouldNotContain("12345678");
    }

    private IKeyProvider Open() => RemoteKeys.Open("vault:transit/keys/backup", _environment.GetValueOrDefault, TimeProvider.System);
}
