using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Keys;

namespace BackupIQ.Tests.Repository;

/// <summary>Makes and opens repositories with a derivation that costs a test nothing.</summary>
internal static class RepositoryBuilder
{
    public static Secret Password(string text) => new(Encoding.UTF8.GetBytes(text));

    public static CreateOptions Options(string? password = "correct horse") => new()
    {
        Password = password is null ? null : Password(password),
        Kdf = KdfParameters.NewScrypt(n: 1024),
        Label = "photos",
    };

    public static Task<CreatedRepository> CreateAsync(FakeStorage storage, CreateOptions? options = null) =>
        BackupRepository.CreateAsync(storage, options ?? Options(), TimeProvider.System, CancellationToken.None);

    public static Task<BackupRepository> OpenAsync(FakeStorage storage, string password = "correct horse") =>
        OpenAsync(storage, new Credentials { Password = Password(password) });

    public static Task<BackupRepository> OpenAsync(FakeStorage storage, Credentials credentials) =>
        BackupRepository.OpenAsync(storage, credentials, TimeProvider.System, CancellationToken.None);
}
