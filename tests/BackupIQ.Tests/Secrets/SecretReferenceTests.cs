using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Secrets;
using BackupIQ.Testing;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Secrets;

public sealed class SecretReferenceTests : IDisposable
{
    private readonly ScratchFolder _scratch = new();
    private readonly Dictionary<string, string> _environment = new(StringComparer.Ordinal);

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public void ASecretIsTheFirstLineOfWhateverIsNamed()
    {
        _environment["PLACE"] = "from a variable\n";
        _environment["CREDENTIALS_DIRECTORY"] = _scratch.Path;
        string file = Write("credential", "from a file\r\nand more\n", UnixFileMode.UserRead);
        Read("env:PLACE").ShouldBe("from a variable");
        Read("file:" + file).ShouldBe("from a file");
        Read("systemd:credential").ShouldBe("from a file");
        Read("cmd:printf 'from %s' 'a command'").ShouldBe("from a command");
    }

    [Theory]
    [InlineData("env:NOWHERE", "NOWHERE")]
    [InlineData("file:/nowhere/at/all", "does not exist")]
    [InlineData("systemd:x", "no systemd credentials")]
    [InlineData("cmd:false", "exit code 1")]
    public void WhatIsNotThereIsTold(string reference, string told)
    {
        BackupIQException failure = Should.Throw<BackupIQException>(() => Read(reference));
        failure.Code.ShouldBe(ErrorCodes.SecretUnavailable);
        (failure.Message + failure.Guidance).ShouldContain(told);
    }

    [Theory]
    [InlineData(UnixFileMode.OtherRead, true)]
    [InlineData(UnixFileMode.OtherWrite, true)]
    [InlineData(UnixFileMode.GroupWrite, true)]
    [InlineData(UnixFileMode.GroupRead, false)]
    [InlineData(UnixFileMode.None, false)]
    public void AFileThatEverybodyMayReadIsRefused(UnixFileMode others, bool isRefused)
    {
        string file = Write("wide", "secret\n", UnixFileMode.UserRead | UnixFileMode.UserWrite | others);
        if (isRefused)
        {
            Should.Throw<BackupIQException>(() => Read("file:" + file)).Guidance.ShouldContain("chmod 600");
        }
        else
        {
            Read("file:" + file).ShouldBe("secret");
        }
    }

    [Theory]
    [InlineData("hvs.CAESIPlainTokenOfSomebody")]
    [InlineData("correct horse battery staple")]
    [InlineData("env:")]
    [InlineData("systemd:../etc/shadow")]
    [InlineData("vault:secret")]
    [InlineData("vault:secret/path")]
    [InlineData("vault:secret/path#")]
    [InlineData("aws-secretsmanager:#x")]
    [InlineData("aws-secretsmanager:x#")]
    [InlineData("file:a\nb")]
    [InlineData("")]
    public void WhatIsNoReferenceIsRefusedWithoutShowingIt(string text)
    {
        BackupIQException failure = Should.Throw<BackupIQException>(() => SecretReference.Parse(text));
        failure.Code.ShouldBe(ErrorCodes.Usage);
        if (text.Length > 20)
        {
            (failure.Message + failure.Guidance + string.Concat(failure.Details.Values)).ShouldNotContain(text);
        }
    }

    [Fact]
    public void TheNameOfACommandIsShownAndItsArgumentsAreNot()
    {
        SecretReference.Parse("cmd:'my pass' show --pin 1234").ToString().ShouldBe("cmd:my pass");
        SecretReference.Parse("vault:kv/a/b#c").ToString().ShouldBe("vault:kv/a/b#c");
        SecretReference.Parse("aws-secretsmanager:arn:aws:secretsmanager:eu-central-1:1:secret:x#password").Field.ShouldBe("password");
    }

    [Fact]
    public async Task ASecretIsKeptForFiveMinutesAndReadAgainWhenItWasRefused()
    {
        CancellationToken stop = TestContext.Current.CancellationToken;
        SteppedTime time = new();
        _environment["TOKEN"] = "first";
        using CachedSecret cached = new(SecretReference.Parse("env:TOKEN"), _environment.GetValueOrDefault, time);
        (await GetAsync()).ShouldBe("first");
        _environment["TOKEN"] = "second";
        time.Advance(TimeSpan.FromMinutes(4));
        (await GetAsync()).ShouldBe("first");
        time.Advance(TimeSpan.FromMinutes(2));
        (await GetAsync()).ShouldBe("second");

        using Secret second = new("second"u8);
        (await cached.RenewAsync(second, stop)).ShouldBeNull();
        _environment["TOKEN"] = "third";
        using Secret? third = await cached.RenewAsync(second, stop);
        Encoding.UTF8.GetString(third!.Bytes).ShouldBe("third");

        // Who was refused with the older one finds that somebody has read the newer one.
        _environment["TOKEN"] = "fourth";
        using Secret? again = await cached.RenewAsync(second, stop);
        Encoding.UTF8.GetString(again!.Bytes).ShouldBe("third");

        async Task<string> GetAsync()
        {
            using Secret secret = await cached.GetAsync(stop);
            return Encoding.UTF8.GetString(secret.Bytes);
        }
    }

    private string Read(string reference)
    {
        using Secret secret = SecretReference.Parse(reference).Read(_environment.GetValueOrDefault);
        return Encoding.UTF8.GetString(secret.Bytes);
    }

    private string Write(string name, string content, UnixFileMode mode)
    {
        string path = _scratch.At(name);
        File.WriteAllText(path, content);
        ScratchFolder.Run("chmod", Convert.ToString((int)mode, 8), path);
        return path;
    }
}
