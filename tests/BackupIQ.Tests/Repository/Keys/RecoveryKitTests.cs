using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Keys;
using BackupIQ.Tests.Fuzzing;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Keys;

public sealed class RecoveryKitTests
{
    private static readonly string[] Lines = ["000820C20A1G7DH", "0G28A1C60T3GFNM", "1048J2CA1A5GQ3W", "1G68T3CE1T7GZKT"];

    [Fact]
    public void TheSecretHasTheLinesOfTheFormat() =>
        Enumerable.Range(1, 4).Select(line => KitSecretText.Line(FixedKeys.Salt, line)).ShouldBe(Lines);

    [Fact]
    public void EveryMistypedCharacterAndEverySwapIsNamedByItsLine()
    {
        var secret = new byte[32];
        int unnoticed = 0;
        for (int line = 1; line <= 4; line++)
        {
            KitSecretText.TryReadLine(Lines[line - 1], line, secret).ShouldBeTrue();
            KitSecretText.TryReadLine(Lines[line - 1].ToLowerInvariant().Replace('0', 'o').Replace('1', 'l'), line, secret).ShouldBeTrue();
            KitSecretText.TryReadLine(Lines[line % 4], line, new byte[32]).ShouldBeFalse();
            for (int i = 0; i < 15; i++)
            {
                foreach (char c in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".Where(c => c != Lines[line - 1][i]))
                {
                    char[] typed = Lines[line - 1].ToCharArray();
                    typed[i] = c;
                    unnoticed += KitSecretText.TryReadLine(typed, line, new byte[32]) ? 1 : 0;
                }
            }
        }

        secret.ShouldBe(FixedKeys.Salt);

        // Ten bits of check let one in 1,024 pass; the slot notices those.
        unnoticed.ShouldBeLessThan(15);
        KitSecretText.TryReadLine("ZZZZZZZZZZZZZZZ", 1, new byte[32]).ShouldBeFalse();
    }

    [Theory]
    [InlineData("1: 00082-0C20A-1G7DH\n2: 0G28A-1C60T-3GFNM\n3: 1048J-2CA1A-5GQ3W\n4: 1G68T-3CE1T-7GZKT")]
    [InlineData("  4) 1g68t3ce1t7gzkt\r\n 3. 1048J 2CA1A 5GQ3W\r\nPrinted in 2026\r\n2: OG28A-LC6OT-3GFNM\n1: 00082-0C20A-1G7DH\n")]
    [InlineData("backupiq-kit:1:000820C20A1G7DH0G28A1C60T3GFNM1048J2CA1A5GQ3W1G68T3CE1T7GZKT")]
    public void TheSecretIsReadAsPeopleAndCamerasGiveIt(string text)
    {
        using RecoveryKit kit = RecoveryKit.Parse(text);
        kit.Secret.Bytes.ToArray().ShouldBe(FixedKeys.Salt);
        kit.Block.ShouldBeNull();
        kit.BlockProblem.ShouldNotBeNull();
    }

    [Fact]
    public void ATypingErrorIsToldByLine()
    {
        BackupIQException error = Should.Throw<BackupIQException>(
            () => RecoveryKit.Parse("1: 00082-0C20A-1G7DH\n2: 0G28A-1C60T-3GFNM\n3: 1048J-2CA1A-5GQ3V\n4: 1G68T-3CE1T-7GZKT"));
        error.Code.ShouldBe(ErrorCodes.SecretUnavailable);
        error.Message.ShouldContain("Line 3");
        Should.Throw<BackupIQException>(
            () => RecoveryKit.Parse("1: 00082-0C20A-1G7DH\n2: 0G28A-1C60T-3GFN\n3: 1048J-2CA1A-5GQ3W\n4: 1G68T-3CE1T-7GZKT"))
            .Message.ShouldContain("Line 2");
        Should.Throw<BackupIQException>(() => RecoveryKit.Parse("1: 00082-0C20A-1G7DH")).Message.ShouldContain("not all there");
    }

    [Fact]
    public void TheSecretInWordsIsThatOfAnotherImplementationAndEveryMistypedLetterIsNamed()
    {
        string[] words = ["babad bamag bibaj bimal gujov", "boban bomar bubat bumaz jojig", "dabid damig dibij dimil kuvil", "dobin domir dubit dumiz hopor"];
        Enumerable.Range(1, 4).Select(line => KitSecretText.Words(FixedKeys.Salt, line)).ShouldBe(words);
        string typed = string.Join('\n', words.Select(static (line, i) => $"  {i + 1}: {line.ToUpperInvariant().Replace(' ', '-')}"));
        using RecoveryKit kit = RecoveryKit.Parse(typed);
        kit.Secret.Bytes.ToArray().ShouldBe(FixedKeys.Salt);
        Should.Throw<BackupIQException>(() => RecoveryKit.Parse(typed.Replace("DABID", "DABIF", StringComparison.Ordinal))).Message.ShouldContain("Line 3");
        KitSecretText.TryReadWords("bobanbomarbubatbumazjojig", 3, new byte[32]).ShouldBeFalse();
    }

    [Fact]
    public async Task AKitAsAPageIsReadLikeTheText()
    {
        FakeStorage storage = new();
        await using BackupRepository repository = (await RepositoryBuilder.CreateAsync(storage, RepositoryBuilder.Options() with { Label = "<photos> & more" })).Repository;
        string page = await repository.Slots.AddRecoveryKitAsync("kit", asPage: true, CancellationToken.None);
        page.ShouldStartWith("<!DOCTYPE html>");
        page.ShouldContain("&lt;photos&gt; &amp; more");
        page.ShouldContain("<svg");
        page.ShouldNotContain('█');
        using RecoveryKit kit = RecoveryKit.Parse(page);
        kit.BlockProblem.ShouldBeNull();
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(storage, new Credentials { RecoveryKit = kit });
        opened.Id.ShouldBe(repository.Id);
        string page2 = page[page.IndexOf("words", StringComparison.Ordinal)..];
        using RecoveryKit byWords = RecoveryKit.Parse(string.Join('\n', page2.Split('\n').Where(static line => line.Length > 30 && line.TrimStart() is [>= '1' and <= '4', ':', ..])));
        byWords.Secret.Bytes.SequenceEqual(kit.Secret.Bytes).ShouldBeTrue();
    }

    [Fact]
    public void AQrCodeHasTheModulesThatAnotherEncoderDraws()
    {
        byte[] content = Encoding.ASCII.GetBytes(GoldenObjects.QrContent);
        Rows(QrCode.Encode(content)).ShouldBe(GoldenObjects.Qr);

        static string[] Rows(bool[,] dark) =>
            [.. Enumerable.Range(0, QrCode.Size).Select(row => string.Concat(Enumerable.Range(0, QrCode.Size).Select(column => dark[row, column] ? '1' : '0')))];
    }

    [Fact]
    public async Task AKitIsATextWithASecretAQrCodeAndABlock()
    {
        FakeStorage storage = new();
        CreatedRepository created = await RepositoryBuilder.CreateAsync(storage);
        await using BackupRepository repository = created.Repository;
        string text = created.RecoveryKit.ShouldNotBeNull();
        using RecoveryKit kit = RecoveryKit.Parse(text);
        kit.BlockProblem.ShouldBeNull();
        kit.Repository.ShouldBe(repository.Id);
        string[] lines = text.Split('\n');
        lines.Count(line => line.Length == QrCode.Size + 8 && line.All(c => c is '█' or '▀' or '▄' or ' ')).ShouldBe(23);
        lines.Max(line => line.Length).ShouldBeLessThanOrEqualTo(84);
        text.ShouldContain(repository.Id.ToString());
    }

    [Fact]
    public async Task AnyTextIsAKitOrIsRefusedCleanly()
    {
        FakeStorage storage = new();
        CreatedRepository created = await RepositoryBuilder.CreateAsync(storage);
        await using BackupRepository repository = created.Repository;
        Fuzz.Run([Encoding.UTF8.GetBytes(created.RecoveryKit!)], input =>
        {
            try
            {
                RecoveryKit.Parse(Encoding.UTF8.GetString(input)).Dispose();
            }
            catch (BackupIQException e)
            {
                e.Code.ShouldBe(ErrorCodes.SecretUnavailable);
            }
        });
    }
}
