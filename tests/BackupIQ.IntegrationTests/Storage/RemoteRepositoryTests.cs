using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>The program on repositories that lie on servers: Apache by WebDAV, OpenSSH by SFTP through rclone.</summary>
public sealed partial class RemoteRepositoryTests : IDisposable
{
    private const int Large = 24 << 20;

    private readonly ProgramUser _user = new();
    private readonly List<IDisposable> _servers = [];
    private ServerProcess? _server;
    private string _folder = "";

    public void Dispose()
    {
        _servers.ForEach(static server => server.Dispose());
        _user.Dispose();
    }

    [Theory]
    [InlineData("webdav")]
    [InlineData("sftp")]
    public void WhatIsBackedUpIsRestoredCheckedForgottenAndCopied(string kind)
    {
        StartServer(kind);
        string source = _user.MakeTree();
        _user.Run("init").ShouldEndWith(0);
        _user.Run("init").ShouldEndWith(7);
        string repository = _user.Repository;
        _user.Repository = repository.Replace("/repository?", "/elsewhere?", StringComparison.Ordinal);
        _user.Run("snapshots").ShouldEndWith(10);
        _user.Repository = repository;
        _user.Backup(source);
        File.WriteAllText(Path.Combine(source, "docs", "letter.txt"), "another letter\n");
        JsonElement second = _user.Backup(source);
        second.GetProperty("data_added").GetInt64().ShouldBeLessThan(100_000);
        _user.Run("check", "--read-data").ShouldEndWith(0);
        _user.Run("restore", "latest", "--target", _user.At("restored")).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("restored") + source).ShouldBeEmpty();

        _user.Run("forget", "--keep-last", "1", "--allow-mass", "--grace", "0", "--yes").ShouldEndWith(0);
        _user.Run("prune", "--max-unused", "0").ShouldEndWith(0);
        _user.Run("snapshots", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(1);
        _user.Run("check", "--read-data").ShouldEndWith(0);
        Directory.EnumerateFileSystemEntries(Path.Combine(_folder, "tmp")).ShouldBeEmpty();

        // To a local repository and back to another folder of the server.
        string remote = _user.Repository;
        string[] fromRemote = ["--from-repo", remote, "--from-key-file", _user.At("repository.key")];
        string[] onLocal = ["--repo", _user.At("local"), "--key-file", _user.At("local.key"), "--no-input"];
        _user.RunPlain(["init", .. onLocal]).ShouldEndWith(0);
        _user.RunPlain(["copy", .. fromRemote, .. onLocal]).ShouldEndWith(0);
        _user.RunPlain(["restore", "latest", "--target", _user.At("copied"), .. onLocal]).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("copied") + source).ShouldBeEmpty();
        NothingSecretIn(_user.Run("snapshots", "-vv"));
    }

    [Theory]
    [InlineData("webdav")]
    [InlineData("sftp")]
    public void ARunThatIsKilledLosesNothingAndLeavesNobodyBehind(string kind)
    {
        StartServer(kind);
        string source = _user.MakeTree(large: 2 * Large);
        _user.Run("init").ShouldEndWith(0);
        ProgramUser.RunningProgram running = _user.Start("backup", source, "--limit-upload", "8M", "--checkpoint-interval", "1s", "--no-progress");
        WaitFor(running, () => Stored() > 4 << 20 && Directory.Exists(Path.Combine(_folder, "sp")) && Directory.EnumerateFiles(Path.Combine(_folder, "sp")).Any());
        running.Interrupt(9);
        running.Wait().Code.ShouldNotBe(0);
        Stopwatch watch = Stopwatch.StartNew();
        while (Children().Length > 0 && watch.Elapsed < TimeSpan.FromSeconds(10))
        {
            Thread.Sleep(20);
        }

        Children().ShouldBeEmpty();
        _user.Run("check", "--read-data").ShouldEndWith(0);
        _user.Backup(source).GetProperty("data_added").GetInt64().ShouldBeLessThan((2 * Large) - (2 << 20));
        _user.Run("check", "--read-data").ShouldEndWith(0);
        _user.Run("restore", "latest", "--target", _user.At("restored")).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("restored") + source).ShouldBeEmpty();
    }

    [Theory]
    [InlineData("webdav")]
    [InlineData("sftp")]
    public void AnInterruptedRunEndsInOrderThoughCtrlCGoesToTheWholeGroup(string kind)
    {
        StartServer(kind);
        string source = _user.MakeTree(large: 3 * Large);
        _user.Run("init").ShouldEndWith(0);
        _user.Prefix = ["setsid", "--wait"];
        ProgramUser.RunningProgram running = _user.Start("backup", source, "--limit-upload", "6M", "--no-progress");
        _user.Prefix = [];
        WaitFor(running, () => Stored() > 2 << 20);

        // A pack is seen a moment before its put returns; what is interrupted in that moment is left to the next run.
        Thread.Sleep(1000);
        foreach (int id in ProgramGroup())
        {
            _ = Kill(-id, 2);
        }

        string said = running.Wait().ShouldEndWith(130).Error;
        said.ShouldContain("Interrupted");
        said.ShouldNotContain("rclone has ended");
        Children().ShouldBeEmpty();
        _user.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Theory]
    [InlineData("webdav")]
    [InlineData("sftp")]
    public void AServerThatIsFrozenForAWhileOnlyCostsThatWhile(string kind)
    {
        StartServer(kind);
        string source = _user.MakeTree(large: Large);
        _user.Run("init").ShouldEndWith(0);
        ProgramUser.RunningProgram running = _user.Start("backup", source, "--limit-upload", "8M", "--no-progress");
        WaitFor(running, () => Stored() > 2 << 20);
        foreach (int id in Serving())
        {
            _ = Kill(id, 19);
        }

        Thread.Sleep(5000);
        running.HasEnded.ShouldBeFalse();
        foreach (int id in Serving())
        {
            _ = Kill(id, 18);
        }

        running.Wait().ShouldEndWith(0);
        _user.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Theory]
    [InlineData("webdav")]
    [InlineData("sftp")]
    public void AServerThatIsGoneIsToldInOneLine(string kind)
    {
        StartServer(kind);
        _user.Run("init").ShouldEndWith(0);
        _server!.Dispose();
        ProgramRun run = _user.Run("snapshots").ShouldEndWith(15);
        run.Error.ShouldContain("could not be opened");
        NothingSecretIn(run);
    }

    [Fact]
    public void AWrongPasswordAtAWebDavServerIsCode13()
    {
        StartServer("webdav");
        string file = _user.Write("wrong", "not-the-password\n");
        _user.Repository = _user.Repository[.._user.Repository.IndexOf('?', StringComparison.Ordinal)] + "?password-file=" + file;
        ProgramRun run = _user.Run("init").ShouldEndWith(13);
        run.Error.ShouldContain("does not know these credentials");
        run.Error.ShouldNotContain("not-the-password");
    }

    [Fact]
    public void APasswordThatIsChangedWhileARunIsOnIsReadAgain()
    {
        StartServer("webdav");
        string reference = _user.Write("reference", ApacheServer.Password + "\n");
        File.SetUnixFileMode(reference, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        _user.Repository = $"{_user.Repository[.._user.Repository.IndexOf('?', StringComparison.Ordinal)]}?password-from=file:{reference}";
        string source = _user.MakeTree(large: Large);
        _user.Run("init").ShouldEndWith(0);
        ProgramUser.RunningProgram running = _user.Start("backup", source, "--limit-upload", "8M", "--no-progress");
        WaitFor(running, () => Stored() > 2 << 20);
        File.WriteAllText(reference, "another-Password\n");
        ((ApacheServer)_servers.Single()).ChangePassword("another-Password");
        running.Wait().ShouldEndWith(0).Error.ShouldNotContain("another-Password");
        _user.Run("check", "--read-data").ShouldEndWith(0);
        File.WriteAllText(reference, ApacheServer.Password + "\n");
        _user.Run("snapshots").ShouldEndWith(13);
    }

    [Fact]
    public void APasswordComesFromVariableFileOrCommandAndNeverFromTheUrl()
    {
        StartServer("webdav");
        string plain = _user.Repository[.._user.Repository.IndexOf('?', StringComparison.Ordinal)];
        _user.Run("init").ShouldEndWith(0);
        _user.Repository = plain;
        _user.Run("snapshots").ShouldEndWith(2).Error.ShouldContain("BACKUPIQ_WEBDAV_PASSWORD");
        _user.Environment["BACKUPIQ_WEBDAV_PASSWORD"] = ApacheServer.Password;
        _user.Run("snapshots").ShouldEndWith(0);
        _user.Environment.Remove("BACKUPIQ_WEBDAV_PASSWORD");
        _user.Repository = $"{plain}?password-command=printf '%25s' {ApacheServer.Password}";
        _user.Run("snapshots").ShouldEndWith(0);
        _user.Repository = plain.Replace(ApacheServer.User, $"{ApacheServer.User}:{ApacheServer.Password}", StringComparison.Ordinal);
        ProgramRun refused = _user.Run("snapshots").ShouldEndWith(2);
        refused.Error.ShouldContain("carries a password");
        NothingSecretIn(refused);
    }

    [Fact]
    public async Task ByTheRulesOfTheDocumentationAnAccountAddsAndTakesNothingAway()
    {
        ServerProcess.Require(ApacheServer.IsInstalled, ApacheServer.Missing);
        ApacheServer server = ApacheServer.Start(keepsAll: true);
        _servers.Add(server);
        _user.Repository = server.Url("repository");
        _user.Run("init").ShouldEndWith(0);
        _user.Backup(_user.MakeTree());
        _user.Run("check", "--read-data").ShouldEndWith(0);

        string folder = Path.Combine(server.Root, "repository");
        string pack = Directory.EnumerateFiles(Path.Combine(folder, "d"), "*", SearchOption.AllDirectories).First();
        byte[] before = await File.ReadAllBytesAsync(pack);
        Uri at = new($"http://127.0.0.1:{server.Port}{pack[server.Root.Length..]}");
        Uri spool = new($"http://127.0.0.1:{server.Port}/repository/tmp/x");
        using HttpClient thief = new();
        thief.DefaultRequestHeaders.Authorization = new("Basic", Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes($"{ApacheServer.User}:{ApacheServer.Password}")));
        ((int)await SendAsync("PUT", spool, null)).ShouldBe(201);
        ((int)await SendAsync("DELETE", at, null)).ShouldBe(403);
        ((int)await SendAsync("DELETE", new Uri(at, "/repository/d/"), null)).ShouldBe(403);
        ((int)await SendAsync("DELETE", new Uri(at, "/repository/"), null)).ShouldBe(403);
        ((int)await SendAsync("PUT", at, null)).ShouldBe(403);
        ((int)await SendAsync("MOVE", at, spool)).ShouldBe(403);
        ((int)await SendAsync("MOVE", new Uri(at, "/repository/d/"), new Uri(at, "/elsewhere/"))).ShouldBe(403);
        ((int)await SendAsync("MOVE", spool, at)).ShouldBe(412);
        string detour = $"http://127.0.0.1:{server.Port}/repository/tmp/%2e%2e{pack[folder.Length..]}";
        _user.RunOther("curl", "-s", "-o", _user.At("answer"), "-w", "%{http_code}", "--path-as-is", "-X", "DELETE", "-u", $"{ApacheServer.User}:{ApacheServer.Password}", detour)
            .ShouldEndWith(0).Text.ShouldStartWith("4");
        (await File.ReadAllBytesAsync(pack)).ShouldBe(before);

        async Task<System.Net.HttpStatusCode> SendAsync(string method, Uri uri, Uri? destination)
        {
            using HttpRequestMessage request = new(new HttpMethod(method), uri);
            request.Content = method == "PUT" ? new StringContent("x") : null;
            if (destination is not null)
            {
                request.Headers.Add("Destination", destination.AbsoluteUri);
                request.Headers.Add("Overwrite", "T");
            }

            using HttpResponseMessage response = await thief.SendAsync(request);
            return response.StatusCode;
        }
    }

    [Fact]
    public void AnAuthorityThatNobodyKnowsIsRefusedUntilItIsNamed()
    {
        ServerProcess.Require(ApacheServer.IsInstalled, ApacheServer.Missing);
        ApacheServer server = ApacheServer.Start(withTls: true);
        _servers.Add(server);
        _user.Repository = $"webdavs://{ApacheServer.User}@127.0.0.1:{server.Port}/repository?password-file={server.PasswordFile}";
        _user.Run("init").ShouldEndWith(15).Error.ShouldContain("certificate is not trusted");
        _user.Repository += $"&ca={server.Certificate}";
        _user.Run("init").ShouldEndWith(0);
        _user.Backup(_user.MakeTree());
        _user.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Fact]
    public void AWrongKeyAWrongHostAndAnUnknownHostAreEachToldApart()
    {
        ServerProcess.Require(SshServer.IsInstalled, SshServer.Missing);
        SshServer server = SshServer.Start();
        _servers.Add(server);
        string where = $"sftp://{Environment.UserName}@127.0.0.1:{server.Port}{server.Root}/r";
        _user.Repository = $"{where}?key={server.StrangeKey}&known-hosts={server.KnownHosts}";
        _user.Run("init").ShouldEndWith(13).Error.ShouldContain("credentials");
        _user.Repository = $"{where}?key={server.Key}&known-hosts={server.WrongHosts}";
        _user.Run("init").ShouldEndWith(15).Error.ShouldContain("host key");
        _user.Repository = $"{where}?key={server.Key}&known-hosts={_user.Write("empty", "")}";
        _user.Run("init").ShouldEndWith(15).Error.ShouldContain("host key");
        _user.Repository = $"{where}?key={server.Key}";
        _user.Run("init").ShouldEndWith(2).Error.ShouldContain("known hosts");
        _user.Repository = $"{where}?key={server.Key}&insecure=true";
        _user.Run("init").ShouldEndWith(0);
    }

    [Fact]
    public void WithoutRcloneThePackageIsNamed()
    {
        _user.Environment["PATH"] = _user.MakeFolder("no-programs");
        foreach (string url in new[] { "sftp://ann@127.0.0.1/r?insecure=true", "rclone:remote:path", "icloud://Backups" })
        {
            _user.Repository = url;
            _user.Run("init").ShouldEndWith(1).Error.ShouldContain("apt install rclone");
        }
    }

    [Theory]
    [InlineData("rclone:nobody:path", 2, "no such remote")]
    [InlineData("rclone:path", 2, "names no remote")]
    [InlineData("rclone:x,pass=geheim:path", 2, "gives parameters")]
    [InlineData("icloud://Backups", 1, "does not know iclouddrive")]
    [InlineData("sftp://ann@127.0.0.1/r?pasword-file=/x", 2, "password-file")]
    [InlineData("webdav://store.example/r", 2, "Plain HTTP")]
    public void WhatIsWrongWithAUrlIsSaid(string url, int code, string said)
    {
        ServerProcess.Require(RcloneDavServer.IsInstalled, RcloneDavServer.Missing);
        _user.Repository = url;
        ProgramRun run = _user.Run("init").ShouldEndWith(code);
        run.Error.ShouldContain(said);
        run.Error.ShouldNotContain("geheim");
    }

    [Theory]
    [InlineData("webdav")]
    [InlineData("sftp")]
    public void WhoReachesItAsADiskCommitsAsTheOthersDo(string kind)
    {
        StartServer(kind);
        string source = _user.MakeTree();
        string remote = _user.Repository;
        _user.Run("init").ShouldEndWith(0);
        _user.Backup(source);
        _user.Repository = _folder;
        _user.Backup(source, "--type", "full");
        LetTheServerRead(kind);
        _user.Objects("a").Count(static name => name.EndsWith("/confirmed", StringComparison.Ordinal)).ShouldBe(2);
        _user.Repository = remote;
        _user.Run("snapshots", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(2);
        _user.Run("forget", "--keep-last", "1", "--grace", "0", "--yes").ShouldEndWith(0);
        _user.Repository = _folder;
        _user.Run("prune", "--max-unused", "0", "--yes").ShouldEndWith(0);
        _user.Run("check", "--read-data").ShouldEndWith(0);
        _user.Run("key", "rotate", "--new-epoch", "--yes").ShouldEndWith(15);
    }

    [Theory]
    [InlineData("webdav")]
    [InlineData("sftp")]
    public void WhatWasMadeOnADiskIsOnlyReadOverAServerThatCannotDecide(string kind)
    {
        StartServer(kind);
        string source = _user.MakeTree();
        string remote = _user.Repository;
        _user.Repository = _folder;
        _user.Run("init").ShouldEndWith(0);
        _user.Backup(source);
        LetTheServerRead(kind);
        _user.Repository = remote;
        _user.Run("snapshots", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(1);
        _user.Run("restore", "latest", "--target", _user.At("restored")).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("restored") + source).ShouldBeEmpty();
        _user.Run("backup", source).ShouldEndWith(2).Error.ShouldContain("conditional puts");
        _user.Run("prune", "--yes").ShouldEndWith(2).Error.ShouldContain("backupiq copy");
        _user.Repository = _folder;
        _user.Backup(source);
    }

    [Theory]
    [InlineData("webdav")]
    [InlineData("sftp")]
    public void TheServerHoldsWhatARepositoryReliesOnAndNothingIsLeftThere(string kind)
    {
        StartServer(kind);
        _user.Run("init").ShouldEndWith(0);
        string[] before = [.. Directory.EnumerateFileSystemEntries(_folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
        ProgramRun run = _user.RunPlain("storage", "test", _user.Repository).ShouldEndWith(0);
        run.Text.ShouldContain("not offered: the repository uses its protocol without it");
        run.Text.ShouldContain("All that a repository relies on held.");
        NothingSecretIn(run);
        Directory.EnumerateFileSystemEntries(_folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).ShouldBe(before);
        _user.RunPlain("storage", "info", _user.Repository, "--json").ShouldEndWith(0).Json()
            .GetProperty("objects").EnumerateArray().Select(static kind => kind.GetProperty("kind").GetString()).ShouldContain("configuration");
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);

    private static void NothingSecretIn(ProgramRun run)
    {
        (run.Text + run.Error).ShouldNotContain(ApacheServer.Password);
        (run.Text + run.Error).ShouldNotContain(Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes($"{ApacheServer.User}:{ApacheServer.Password}")));
    }

    private void StartServer(string kind)
    {
        if (kind == "webdav")
        {
            ServerProcess.Require(ApacheServer.IsInstalled, ApacheServer.Missing);
            ApacheServer server = ApacheServer.Start();
            _servers.Add(server);
            (_user.Repository, _folder, _server) = (server.Url("repository"), Path.Combine(server.Root, "repository"), server.Process);
        }
        else
        {
            ServerProcess.Require(SshServer.IsInstalled, SshServer.Missing);
            SshServer server = SshServer.Start();
            _servers.Add(server);
            (_user.Repository, _folder, _server) = (server.Url("repository"), Path.Combine(server.Root, "repository"), server.Process);
        }
    }

    // What is put on the disk is for its owner alone, and Apache is another.
    private void LetTheServerRead(string kind)
    {
        if (kind == "webdav")
        {
            ScratchFolder.Run("chmod", "-R", "a+rwX", _folder);
        }
    }

    private long Stored() => Directory.Exists(Path.Combine(_folder, "d"))
        ? Directory.EnumerateFiles(Path.Combine(_folder, "d"), "*", SearchOption.AllDirectories).Sum(static file => new FileInfo(file).Length)
        : 0;

    // The shell and rclone below the program: their environment names this user's home.
    private int[] Children() => Processes(id => ReadProc(id, "environ").Contains($"HOME={_user.Home}\0", StringComparison.Ordinal));

    private int[] ProgramGroup() => Processes(id => ReadProc(id, "environ").Contains($"HOME={_user.Home}\0", StringComparison.Ordinal)
        && ReadProc(id, "cmdline").Contains("\0backup\0", StringComparison.Ordinal) && ReadProc(id, "stat").Split(' ')[4] == id.ToString(System.Globalization.CultureInfo.InvariantCulture));

    // The server's process, and those that it made for connections.
    private int[] Serving() => Processes(id =>
    {
        for (int at = id; at > 1; at = int.TryParse(ReadProc(at, "stat").Split(") ") is [_, var rest] ? rest.Split(' ')[1] : "0", out int parent) ? parent : 0)
        {
            if (at == _server!.Id)
            {
                return true;
            }
        }

        return false;
    });

    private static int[] Processes(Func<int, bool> isMeant) =>
        [.. Directory.EnumerateDirectories("/proc").Select(static path => int.TryParse(Path.GetFileName(path), out int id) ? id : 0).Where(id => id > 0 && isMeant(id))];

    private static string ReadProc(int id, string file)
    {
        try
        {
            return File.ReadAllText($"/proc/{id}/{file}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    private static void WaitFor(ProgramUser.RunningProgram running, Func<bool> happened)
    {
        Stopwatch watch = Stopwatch.StartNew();
        while (!happened())
        {
            if (running.HasEnded || watch.Elapsed > TimeSpan.FromSeconds(60))
            {
                ProgramRun run = running.Wait(TimeSpan.FromSeconds(1));
                throw new InvalidOperationException($"It ended with {run.Code} before that: {run.Text}{run.Error}");
            }

            Thread.Sleep(20);
        }
    }
}
