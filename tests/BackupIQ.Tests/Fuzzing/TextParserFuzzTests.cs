using System.Text;
using BackupIQ.Cli.Configuration;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Cli.Secrets;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Verification;
using BackupIQ.Keys.Remote.Pkcs11;
using BackupIQ.Primitives;
using BackupIQ.Repository.Compression;
using BackupIQ.Sources.Files;
using BackupIQ.Sources.Files.Patterns;
using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Fuzzing;

/// <summary>What people and scripts write: patterns, lists, configuration files, quantities, names on a terminal.</summary>
[Trait("kind", "fuzz")]
public sealed class TextParserFuzzTests
{
    [Fact]
    public void ExcludePatterns()
    {
        byte[][] paths =
        [
            "/home/ann/documents/letter.txt"u8.ToArray(), "/a"u8.ToArray(), [.. "/caf"u8, 0xe9, (byte)'/', 0xff], Encoding.UTF8.GetBytes("/größe/☃/𝄞"),
            Encoding.UTF8.GetBytes("/" + string.Join('/', Enumerable.Repeat("aaaaaaaaab", 40))),
        ];
        Fuzz.Run(
            [
                "*.tmp"u8.ToArray(), "/home/*/cache/**"u8.ToArray(), "**/node_modules/**/*.js"u8.ToArray(), "!keep[a-z0-9].t?t"u8.ToArray(), "[!a-c]\\*[^x]"u8.ToArray(),
                "a*a*a*a*a*a*b"u8.ToArray(), "**/a/**/a/**/a/**/b"u8.ToArray(), Encoding.UTF8.GetBytes("gr[ö-ü]ße/*☃*"),
            ],
            bytes =>
            {
                foreach (bool ignoreCase in (bool[])[false, true])
                {
                    PatternList list = new([bytes, "other"u8.ToArray()], ignoreCase, "--exclude");
                    foreach (byte[] path in paths)
                    {
                        list.Matches(path, out _);
                    }
                }
            },
            perByte: 4096,
            allocates: 8 << 20);
    }

    [Fact]
    public void ListsInFiles() => Fuzz.Run(
        ["# comment\n*.o\n $HOME/x \n${A}$$\n"u8.ToArray(), [0xff, 0xfe, .. Encoding.Unicode.GetBytes("a\nb\n")], [0xfe, 0xff, .. Encoding.BigEndianUnicode.GetBytes("ä\n")], "/a\0/b\0"u8.ToArray()],
        static bytes =>
        {
            foreach (byte[] pattern in ListFiles.Patterns(bytes, static name => name == "HOME" ? "/home/ann" : null))
            {
                pattern.Length.ShouldBeGreaterThanOrEqualTo(0);
            }

            ListFiles.Globs(bytes).Count.ShouldBe(ListFiles.Globs(bytes).Count);
            ListFiles.Verbatim(bytes).ShouldAllBe(static line => line.Length > 0);
            try
            {
                ListFiles.Raw(bytes).ShouldAllBe(static path => path.Length > 0);
            }
            catch (BackupIQException e)
            {
                e.Code.ShouldBe(ErrorCodes.Usage);
            }
        },
        perByte: 2048);

    [Fact]
    public void FolderTags() => Fuzz.Run(["CACHEDIR.TAG:Signature: 8a477f"u8.ToArray(), ".nobackup"u8.ToArray()], static bytes => FolderTag.Parse(bytes));

    [Fact]
    public void ConfigurationFiles()
    {
        using ScratchFolder scratch = new();
        string path = scratch.At("config.yaml");
        byte[] seed = Encoding.UTF8.GetBytes("repo: /mnt/x\njobs: 3\nbackup:\n  paths: [/a, '/b']\n  exclude:\n    - '*.tmp'\n  exclude-caches: true\n# comment\nmemory: 512M\n");
        Fuzz.Run(
            [seed, "jobs: &x 3\nmemory: *x\n"u8.ToArray(), "{repo: /x, backup: {tags: [a]}}"u8.ToArray(), "postgres:\n  main:\n    dsn: host=/run\n    pgdata: /data\n"u8.ToArray()],
            bytes =>
            {
                File.WriteAllBytes(path, bytes);
                ConfigFile file = new();
                file.Read(path);
                foreach (SettingDefinition definition in SettingDefinitions.All)
                {
                    _ = file.Find(definition.Key);
                }

                file.Postgres.Values.ShouldAllBe(static server => server.Fields.ContainsKey("dsn"));
                file.Findings.ForEach(static finding => finding.ToString().ShouldNotBeEmpty());
            },
            perByte: 16 << 10,
            allocates: 16 << 20);
    }

    [Fact]
    public void QuantitiesAndChoices() => Fuzz.Run(
        [
            "1.5GiB"u8.ToArray(), "512M/s"u8.ToArray(), "1h30m"u8.ToArray(), "250ms"u8.ToArray(), "5%"u8.ToArray(), "1/10"u8.ToArray(), "2G"u8.ToArray(), "zstd:19"u8.ToArray(),
            "08:00-18:00=2M,22:00-6:30=unlimited,else=1.5GiB/s"u8.ToArray(),
            "latest~2"u8.ToArray(), "@2026-11-22T10:00"u8.ToArray(), "ab12cd34:/home/x"u8.ToArray(),
            "s3://bucket/a/pr%C3%A9fix?endpoint=https://h:9000&region=eu&lock-days=30"u8.ToArray(),
        ],
        static bytes =>
        {
            string text = Encoding.UTF8.GetString(bytes);
            if (Quantity.TryParseSize(text, out long size))
            {
                size.ShouldBeGreaterThanOrEqualTo(0);
            }

            if (RateText.TryParse(text, out RateSchedule schedule))
            {
                schedule.At(new TimeOnly(12, 0)).ShouldBeGreaterThanOrEqualTo(0);
            }

            if (Quantity.TryParseDuration(text, out TimeSpan duration))
            {
                duration.ShouldBeGreaterThanOrEqualTo(TimeSpan.Zero);
            }

            _ = Suggestion.Nearest(text.Length > 40 ? text[..40] : text, ["--exclude", "--include"]);
            _ = SnapshotPath.Parse(text);
            Refusable(() => ReadDataSubset.Parse(text));
            Refusable(() => CompressionSetting.Parse(text));
            Refusable(() => SnapshotStore.Find([], text));
            Refusable(() => CommandWords.Split(text));
            Refusable(() =>
            {
                StorageUrl url = StorageUrl.Parse(text);
                url.Show([.. url.OptionNames]).ShouldNotBeEmpty();
                url.RequireOptions(["endpoint", "region"], "");
            });
        });

    [Fact]
    public void NamesOnATerminal() => Fuzz.Run(
        ["plain"u8.ToArray(), [0xff, 0xfe, 0x80], "a\u001b[31mred\nline\t"u8.ToArray(), Encoding.UTF8.GetBytes("\u202egnp.exe ☃𝄞 größe e\u0301")],
        static bytes =>
        {
            OsText.Encode(OsText.Decode(bytes)).ShouldBe(bytes);
            string shown = DisplayText.Of(bytes);
            shown.ShouldAllBe(static c => !char.IsControl(c));
            DisplayText.KeepEnd(shown, 20).EnumerateRunes().Count().ShouldBeLessThanOrEqualTo(shown.Length);
            _ = DisplayText.Pad(shown, 30);
            _ = JsonLines.Bytes(writer =>
            {
                writer.WriteStartObject();
                writer.WriteName("name", bytes);
                writer.WriteEndObject();
            });
        },
        perByte: 2048);

    private static void Refusable(Action action)
    {
        try
        {
            action();
        }
        catch (BackupIQException e)
        {
            e.Code.ShouldBeOneOf(ErrorCodes.Usage, ErrorCodes.SnapshotNotFound, ErrorCodes.Validation, ErrorCodes.Configuration);
        }
    }

    [Fact]
    public void NamesOfKeysAndSecrets() => Fuzz.Run(
        [
            "pkcs11:token=My%20HSM;object=kek?module-path=/usr/lib/x.so&pin-source=file:/run/pin"u8.ToArray(), "vault:secret/backup/laptop#password"u8.ToArray(),
            "aws-secretsmanager:arn:aws:secretsmanager:eu-central-1:1:secret:x#y"u8.ToArray(), "cmd:pass 'show' x"u8.ToArray(), "systemd:name"u8.ToArray(),
        ],
        static bytes =>
        {
            string text = Encoding.UTF8.GetString(bytes);
            if (text.StartsWith("pkcs11:", StringComparison.Ordinal))
            {
                Pkcs11Uri.Parse(text).Label.ShouldNotBeEmpty();
            }
            else
            {
                SecretReference.Parse(text).ToString().ShouldNotBeEmpty();
            }
        },
        perByte: 1024);
}
