using System.Net;
using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Rclone;

/// <summary>Calls of rclone's remote control, on the child that serves one storage.</summary>
internal sealed class RcloneClient : IAsyncDisposable
{
    /// <summary>A listing of two million objects takes some 500 MB.</summary>
    private const int LargestAnswer = 1 << 30;

    private const string FileSystem = "fs";

    private readonly RcloneProcess _process;
    private readonly HttpClient _http;

    /// <summary>Owns the process.</summary>
    public RcloneClient(RcloneProcess process)
    {
        _process = process;

        // A proxy of the environment has no business between a process and its child.
        _http = new HttpClient(new SocketsHttpHandler { UseProxy = false, UseCookies = false, AllowAutoRedirect = false }) { BaseAddress = process.Address, Timeout = Timeout.InfiniteTimeSpan };
        _http.DefaultRequestHeaders.Authorization = process.Authorization;
    }

    /// <summary>Calls a command on the storage; null when rclone says that what it names is not there.</summary>
    public Task<ReadOnlyMemory<byte>?> CallAsync(string command, JsonObject arguments, string what, CancellationToken cancellationToken)
    {
        arguments[FileSystem] = RcloneProcess.Remote;
        return CallPlainAsync(command, arguments, what, cancellationToken);
    }

    /// <summary>Calls a command; null when rclone says that what it names is not there.</summary>
    public async Task<ReadOnlyMemory<byte>?> CallPlainAsync(string command, JsonObject arguments, string what, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, new Uri(_process.Address, command));
        request.Content = new StringContent(arguments.ToJsonString(), new MediaTypeHeaderValue("application/json"));
        using HttpResponseMessage response = await SendAsync(request, what, cancellationToken).ConfigureAwait(false);
        ReadOnlyMemory<byte> answer = await HttpCall.ReadWholeAsync(response, LargestAnswer, what, cancellationToken).ConfigureAwait(false);
        if (response.StatusCode == HttpStatusCode.OK)
        {
            return answer;
        }

        return response.StatusCode == HttpStatusCode.NotFound && !IsUnknownCommand(answer) ? (ReadOnlyMemory<byte>?)null : throw Failure(answer, what);
    }

    /// <summary>Sends a file to a place that is taken to be free.</summary>
    public async Task UploadAsync(string name, StorageContent content, long length, string what, CancellationToken cancellationToken)
    {
        string folder = RemoteSpool.FolderOf(name);
        using HttpRequestMessage request = new(HttpMethod.Post, new Uri(_process.Address, $"operations/uploadfile?fs={Uri.EscapeDataString(RcloneProcess.Remote)}&remote={Uri.EscapeDataString(folder)}"));
        using MultipartFormDataContent form = new();
        StreamContent file = new(content.OpenRead(), 256 * 1024);
        file.Headers.ContentLength = length;
        file.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        file.Headers.ContentDisposition = new ContentDispositionHeaderValue("form-data") { Name = "\"file\"", FileName = $"\"{name[(name.LastIndexOf('/') + 1)..]}\"" };
        form.Add(file);
        request.Content = form;
        using HttpResponseMessage response = await SendAsync(request, what, cancellationToken).ConfigureAwait(false);
        if (response.StatusCode != HttpStatusCode.OK)
        {
            throw Failure(await HttpCall.ReadWholeAsync(response, LargestAnswer, what, cancellationToken).ConfigureAwait(false), what);
        }
    }

    /// <summary>Reads a part of a file; null when there is no such file, or it ends before the part, which rclone says in one way or the other.</summary>
    public async Task<int?> ReadAsync(string name, long offset, Memory<byte> destination, string what, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = new(HttpMethod.Get, new Uri(_process.Address, $"[{RcloneProcess.Remote}]/{name}"));
        request.Headers.Range = new RangeHeaderValue(offset, offset + destination.Length - 1);
        using HttpResponseMessage response = await SendAsync(request, what, cancellationToken).ConfigureAwait(false);
        switch (response.StatusCode)
        {
            case HttpStatusCode.PartialContent when response.Content.Headers.ContentRange is null:
                return null;
            case HttpStatusCode.PartialContent:
                return await HttpCall.ReadRangeAsync(response, offset, destination, what, cancellationToken).ConfigureAwait(false);
            case HttpStatusCode.RequestedRangeNotSatisfiable:
                return 0;
            case HttpStatusCode.NotFound:
                return null;
            default:
                ReadOnlyMemory<byte> answer = await HttpCall.ReadWholeAsync(response, LargestAnswer, what, cancellationToken).ConfigureAwait(false);
                return RcloneAnswers.Text(answer, "error")?.Contains("is a directory", StringComparison.Ordinal) == true ? null : throw Failure(answer, what);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await _process.DisposeAsync().ConfigureAwait(false);
    }

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, string what, CancellationToken cancellationToken)
    {
        try
        {
            return await HttpCall.SendAsync(_http, request, what, cancellationToken).ConfigureAwait(false);
        }
        catch (StorageException e) when (_process.HasEnded)
        {
            StorageException ended = new(ErrorCodes.Storage, $"{what}: rclone has ended", "See what it said; run again.", e);
            ended.With("rclone", _process.Log.ToString());
            throw ended;
        }
    }

    private static bool IsUnknownCommand(ReadOnlyMemory<byte> answer) =>
        RcloneAnswers.Text(answer, "error")?.Contains("couldn't find method", StringComparison.Ordinal) == true;

    private static StorageException Failure(ReadOnlyMemory<byte> answer, string what) =>
        RcloneFailure.Of(RcloneAnswers.Text(answer, "error") ?? "rclone gave no reason", what);
}
