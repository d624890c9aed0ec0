using System.Diagnostics;
using BackupIQ.Testing.Files;

namespace BackupIQ.Testing.Servers;

/// <summary>A token of SoftHSM, which keeps its objects in files: what programs do with it they do with a hardware security module.</summary>
public sealed class SoftHsm : IDisposable
{
    /// <summary>The token's label.</summary>
    public const string Token = "ci token";

    /// <summary>The user's PIN.</summary>
    public const string Pin = "19730412";

    private static readonly string[] Places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so"];

    private readonly ScratchFolder _scratch = new();

    /// <summary>Makes the token.</summary>
    public SoftHsm()
    {
        Directory.CreateDirectory(_scratch.At("tokens"));
        File.WriteAllText(Configuration, $"directories.tokendir = {_scratch.At("tokens")}\nobjectstore.backend = file\nlog.level = ERROR\n");
        Run("softhsm2-util", "--init-token", "--free", "--label", Token, "--so-pin", "00000000", "--pin", Pin);
    }

    /// <summary>What is said where it is not installed.</summary>
    public static string Missing => "SoftHSM is not installed: apt-get install softhsm2 opensc.";

    /// <summary>The library, or null where it is not installed.</summary>
    public static string? Module => Places.FirstOrDefault(File.Exists);

    /// <summary>Whether the library and its tools are there.</summary>
    public static bool IsInstalled => Module is not null && ServerProcess.Find("softhsm2-util") is not null && ServerProcess.Find("pkcs11-tool") is not null;

    /// <summary>Its configuration file, which SOFTHSM2_CONF must name.</summary>
    public string Configuration => _scratch.At("softhsm2.conf");

    /// <summary>Makes an AES key.</summary>
    public void MakeKey(string label, string id) =>
        Tool("--keygen", "--key-type", "AES:32", "--label", label, "--id", id);

    /// <summary>Makes a pair of RSA keys.</summary>
    public void MakePair(string label, string id, int bits = 2048) =>
        Tool("--keypairgen", "--key-type", $"RSA:{bits}", "--label", label, "--id", id);

    /// <summary>Deletes the private key of a pair.</summary>
    public void DeletePrivate(string label, string id) => Tool("--delete-object", "--type", "privkey", "--label", label, "--id", id);

    /// <summary>Deletes a key.</summary>
    public void DeleteKey(string label, string id) => Tool("--delete-object", "--type", "secrkey", "--label", label, "--id", id);

    /// <summary>Takes the token out, or puts it in again.</summary>
    public void TakeOut(bool isOut)
    {
        string from = _scratch.At(isOut ? "tokens" : "elsewhere");
        string to = Directory.CreateDirectory(_scratch.At(isOut ? "elsewhere" : "tokens")).FullName;
        foreach (string token in Directory.GetDirectories(from))
        {
            Directory.Move(token, Path.Combine(to, Path.GetFileName(token)));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _scratch.Dispose();

    private void Tool(params string[] arguments) =>
        Run("pkcs11-tool", ["--module", Module!, "--token-label", Token, "--login", "--pin", Pin, .. arguments]);

    private void Run(string program, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true, UseShellExecute = false };
        start.Environment["SOFTHSM2_CONF"] = Configuration;
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string said = process.StandardOutput.ReadToEnd() + error.GetAwaiter().GetResult();
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"{program}: {said}");
        }
    }
}
