using System.Globalization;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.KeyServices;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.KeyServices;

/// <summary>AWS KMS and Secrets Manager, on a fake that is held to Amazon's published models. They never ran at Amazon.</summary>
public sealed class AwsProgramTests : KeyServiceProgramTests
{
    private const string SecretKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    private readonly FakeAws _aws = new();

    public AwsProgramTests()
    {
        _aws.Keys["alias/backup"] = new FakeKey();
        _aws.Accounts["AKIDEXAMPLE"] = SecretKey;
        User.Environment["AWS_ACCESS_KEY_ID"] = "AKIDEXAMPLE";
        User.Environment["AWS_SECRET_ACCESS_KEY"] = SecretKey;
        User.Environment["AWS_REGION"] = "eu-central-1";
        User.Environment["AWS_ENDPOINT_URL"] = _aws.Address.ToString();
        User.Environment["AWS_EC2_METADATA_DISABLED"] = "true";
    }

    protected override string Kms => "awskms://alias/backup";

    protected override string MissingKms => "awskms://alias/bakcup?region=eu-west-1";

    protected override string UnreachableKms => string.Create(CultureInfo.InvariantCulture, $"awskms://alias/backup?endpoint=http://127.0.0.1:{ServerProcess.FreePort()}");

    protected override string[] Secrets => [SecretKey];

    protected override FakeService? Fake => _aws;

    [Fact]
    public void WhoMayNotUseTheKeyIsToldWhichRightIsMissing()
    {
        Run("init").ShouldEndWith(0);
        _aws.Forbidden.Add("Decrypt");
        OneLine(Run("snapshots").ShouldEndWith(13)).ShouldContain("kms:Decrypt");
        _aws.Forbidden.Clear();
        _aws.Forbidden.Add("DescribeKey");
        Run("snapshots").ShouldEndWith(0);
        Run("doctor", "--yes").Code.ShouldNotBe(13);
    }

    [Fact]
    public void AnArnAndTheNameNameTheSameKeyAndAThrottleIsWaitedFor()
    {
        Run("init").ShouldEndWith(0);
        _aws.Throttled = 2;
        RunOn("awskms://arn:aws:kms:eu-central-1:111122223333:alias/backup", "snapshots").ShouldEndWith(0);
        _aws.Throttled.ShouldBe(0);
        RunOn("awskms://alias", "snapshots").ShouldEndWith(12);
        RunOn("awskms://key/backup", "snapshots").ShouldEndWith(2);
        RunOn("awskms://alias/backup?secret=x", "snapshots").ShouldEndWith(2);
    }

    [Fact]
    public void APasswordComesFromSecretsManagerByReference()
    {
        _aws.Secrets["backup/laptop"] = """{"password":"correct horse","port":5432}""";
        _aws.Secrets["plain"] = "correct horse";
        string[] rest = ["--repo", User.Repository, "--no-input"];
        User.RunPlain(["init", "--password-from", "aws-secretsmanager:backup/laptop#password", .. rest]).ShouldEndWith(0);
        User.RunPlain(["snapshots", "--password-from", "aws-secretsmanager:plain", .. rest]).ShouldEndWith(0);
        Line("aws-secretsmanager:backup/laptop#passwd", 2).ShouldContain("no field 'passwd'");
        Line("aws-secretsmanager:plain#password", 2).ShouldContain("no JSON object");
        Line("aws-secretsmanager:nowhere", 2).ShouldContain("no such secret");
        _aws.Forbidden.Add("GetSecretValue");
        Line("aws-secretsmanager:plain", 13).ShouldContain("secretsmanager:GetSecretValue");
        User.Environment["AWS_ACCESS_KEY_ID"] = "AKIDOTHER";
        Line("aws-secretsmanager:plain", 13).ShouldContain("does not know the credentials");

        string Line(string reference, int code)
        {
            ProgramRun run = User.RunPlain(["snapshots", "--password-from", reference, .. rest]).ShouldEndWith(code);
            run.Error.ShouldNotContain("correct horse");
            run.Error.ShouldNotContain(SecretKey);
            return OneLine(run);
        }
    }

    [Fact]
    public void WithoutCredentialsItIsSaidWhereTheyComeFrom()
    {
        User.Environment.Remove("AWS_ACCESS_KEY_ID");
        User.Environment.Remove("AWS_SECRET_ACCESS_KEY");
        OneLine(Run("init").ShouldEndWith(13)).ShouldContain("AWS_ACCESS_KEY_ID");
        User.Environment.Remove("AWS_REGION");
        OneLine(Run("init").ShouldEndWith(2)).ShouldContain("AWS_REGION");
    }

    protected override void Rotate() => _aws.Keys["alias/backup"].Rotate();

    protected override void SetEnabled(bool isEnabled) => _aws.Keys["alias/backup"].IsEnabled = isEnabled;

    protected override void WithWrongCredentials(Action act)
    {
        User.Environment["AWS_SECRET_ACCESS_KEY"] = "another/Secret";
        act();
        User.Environment["AWS_SECRET_ACCESS_KEY"] = SecretKey;
    }
}
