using System.Net;
using System.Text;
using System.Xml;
using BackupIQ.Jobs.Browsing;
using BackupIQ.Primitives;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;

namespace BackupIQ.Server.WebDav;

/// <summary>
/// Answers requests: WebDAV class 1 (RFC 4918), read-only. Symbolic links, devices, fifos and sockets have no form in WebDAV and are left out.
/// </summary>
internal sealed class WebDavHandler(RepositoryView view, Action<string, BackupIQException> onFailure)
{
    private const string Methods = "OPTIONS, GET, HEAD, PROPFIND";

    /// <summary>Bytes or characters of a listing that are put together before they are sent.</summary>
    private const int FlushAt = 64 << 10;

    public async Task HandleAsync(HttpContext context)
    {
        HttpResponse response = context.Response;
        response.Headers["DAV"] = "1";
        response.Headers["MS-Author-Via"] = "DAV";
        try
        {
            await AnswerAsync(context).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The client has left.
        }
        catch (BackupIQException failure)
        {
            onFailure(context.Request.Path, failure);
            if (response.HasStarted)
            {
                // A client must not take for whole what is not.
                context.Abort();
                return;
            }

            // Damage is the server's matter: a client that heard "not found" would take the file for deleted.
            response.Headers.Clear();
            await RefuseAsync(response, Math.Max(failure.HttpStatus, StatusCodes.Status500InternalServerError), $"{failure.Code}: {failure.Guidance}\n").ConfigureAwait(false);
        }
    }

    private async Task AnswerAsync(HttpContext context)
    {
        HttpRequest request = context.Request;
        switch (request.Method)
        {
            case "OPTIONS":
                context.Response.Headers.Allow = Methods;
                return;
            case "GET" or "HEAD" or "PROPFIND":
                break;
            case "PUT" or "POST" or "DELETE" or "MKCOL" or "COPY" or "MOVE" or "PROPPATCH" or "LOCK" or "UNLOCK" or "PATCH":
                await RefuseAsync(context.Response, StatusCodes.Status403Forbidden, "Snapshots do not change.\n").ConfigureAwait(false);
                return;
            default:
                context.Response.Headers.Allow = Methods;
                context.Response.StatusCode = StatusCodes.Status405MethodNotAllowed;
                return;
        }

        if (!RequestTarget.TryRead(context, out IReadOnlyList<byte[]> names)
            || await view.FindAsync(names, context.RequestAborted).ConfigureAwait(false) is not { } entry || !IsShown(entry))
        {
            context.Response.StatusCode = StatusCodes.Status404NotFound;
            return;
        }

        if (request.Method == "PROPFIND")
        {
            await PropfindAsync(context, names, entry).ConfigureAwait(false);
        }
        else if (entry.IsFolder)
        {
            await ListAsync(context, names, entry).ConfigureAwait(false);
        }
        else
        {
            await GetAsync(context, entry).ConfigureAwait(false);
        }
    }

    private static bool IsShown(ViewEntry entry) => entry.Info.Type is "dir" or "file";

    private static Task RefuseAsync(HttpResponse response, int status, string text)
    {
        response.StatusCode = status;
        response.ContentType = "text/plain; charset=utf-8";
        return response.WriteAsync(text, response.HttpContext.RequestAborted);
    }

    private async Task GetAsync(HttpContext context, ViewEntry entry)
    {
        ViewFile file = view.OpenFile(entry);

        // Whatever a backup holds, a browser must not run it.
        context.Response.Headers.XContentTypeOptions = "nosniff";
        context.Response.Headers.ContentSecurityPolicy = "sandbox";
        Stream stream = file.OpenStream();
        await using (stream.ConfigureAwait(false))
        {
            await Results
                .Stream(stream, "application/octet-stream", lastModified: DavProperties.LastModified(entry),
                    entityTag: new EntityTagHeaderValue(DavProperties.EntityTag(entry)), enableRangeProcessing: true)
                .ExecuteAsync(context).ConfigureAwait(false);
        }
    }

    // A folder for people.
    private async Task ListAsync(HttpContext context, IReadOnlyList<byte[]> names, ViewEntry folder)
    {
        HttpResponse response = context.Response;
        response.ContentType = "text/html; charset=utf-8";
        response.Headers.ContentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'";
        if (HttpMethods.IsHead(context.Request.Method))
        {
            return;
        }

        if (!RequestTarget.EndsWithSlash(context))
        {
            // Links are relative to the folder.
            response.StatusCode = StatusCodes.Status301MovedPermanently;
            response.Headers.Location = RequestTarget.Write(names, isFolder: true);
            return;
        }

        string title = WebUtility.HtmlEncode("/" + string.Join('/', names.Select(static name => ViewNames.Spell(name))));
        StringBuilder page = new();
        page.Append($"<!doctype html><title>{title}</title><style>td{{padding:0 1em}}</style><h1>{title}</h1><table>\n");
        if (names.Count > 0)
        {
            page.Append("<tr><td><a href=\"../\">../</a></td></tr>\n");
        }

        await foreach (ViewEntry entry in view.ListAsync(folder, context.RequestAborted).ConfigureAwait(false))
        {
            if (IsShown(entry))
            {
                string slash = entry.IsFolder ? "/" : "";
                string name = ViewNames.Spell(entry.Info.Name) + slash;
                page.Append($"<tr><td><a href=\"./{Uri.EscapeDataString(ViewNames.Spell(entry.Info.Name))}{slash}\">{WebUtility.HtmlEncode(name)}</a></td>");
                page.Append($"<td align=\"right\">{(entry.IsFolder ? "" : entry.Info.Size)}</td><td>{DavProperties.LastModified(entry):yyyy-MM-dd HH:mm:ss}</td></tr>\n");
            }

            if (page.Length >= FlushAt)
            {
                await response.WriteAsync(page.ToString(), context.RequestAborted).ConfigureAwait(false);
                page.Clear();
            }
        }

        await response.WriteAsync(page.Append("</table>\n").ToString(), context.RequestAborted).ConfigureAwait(false);
    }

    private async Task PropfindAsync(HttpContext context, IReadOnlyList<byte[]> names, ViewEntry entry)
    {
        PropfindRequest? request = await PropfindRequest.ReadAsync(context.Request.Body, context.RequestAborted).ConfigureAwait(false);
        string depth = context.Request.Headers["Depth"].ToString();
        if (request is null || depth is not ("" or "0" or "1" or "infinity" or "Infinity"))
        {
            await RefuseAsync(context.Response, StatusCodes.Status400BadRequest, "The request is malformed.\n").ConfigureAwait(false);
            return;
        }

        context.Response.ContentType = "application/xml; charset=utf-8";
        if (depth is not ("0" or "1") && entry.IsFolder)
        {
            context.Response.StatusCode = StatusCodes.Status403Forbidden;
            await context.Response.WriteAsync(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?><D:error xmlns:D=\"DAV:\"><D:propfind-finite-depth/></D:error>", context.RequestAborted).ConfigureAwait(false);
            return;
        }

        context.Response.StatusCode = StatusCodes.Status207MultiStatus;

        // Put together in memory, part by part: where a folder turns out to be damaged, nothing is sent that would end it well.
        using MemoryStream part = new();
        using XmlWriter writer = XmlWriter.Create(part, new XmlWriterSettings { Encoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false) });
        writer.WriteStartDocument();
        writer.WriteStartElement("D", "multistatus", DavProperties.Namespace);
        WriteResponse(writer, names, entry, request);
        if (depth == "1")
        {
            await foreach (ViewEntry child in view.ListAsync(entry, context.RequestAborted).ConfigureAwait(false))
            {
                if (IsShown(child))
                {
                    WriteResponse(writer, [.. names, child.Info.Name], child, request);
                }

                if (part.Length >= FlushAt)
                {
                    await SendAsync().ConfigureAwait(false);
                }
            }
        }

        writer.WriteEndElement();
        writer.Flush();
        await SendAsync().ConfigureAwait(false);

        async Task SendAsync()
        {
            await context.Response.Body.WriteAsync(part.GetBuffer().AsMemory(0, (int)part.Length), context.RequestAborted).ConfigureAwait(false);
            part.SetLength(0);
        }
    }

    private static void WriteResponse(XmlWriter writer, IReadOnlyList<byte[]> names, ViewEntry entry, PropfindRequest request)
    {
        writer.WriteStartElement("D", "response", DavProperties.Namespace);
        writer.WriteElementString("D", "href", DavProperties.Namespace, RequestTarget.Write(names, entry.IsFolder));
        XmlQualifiedName[] own = [.. DavProperties.NamesOf(entry).Select(static name => new XmlQualifiedName(name, DavProperties.Namespace))];
        IReadOnlyList<XmlQualifiedName> wanted = request.Kind == PropfindKind.Some ? request.Names : own;
        List<XmlQualifiedName> missing = [];
        bool isEmpty = wanted.Count > 0 && !wanted.Any(own.Contains);
        if (!isEmpty)
        {
            writer.WriteStartElement("D", "propstat", DavProperties.Namespace);
            writer.WriteStartElement("D", "prop", DavProperties.Namespace);
            foreach (XmlQualifiedName name in wanted)
            {
                if (request.Kind == PropfindKind.Names)
                {
                    writer.WriteElementString("D", name.Name, DavProperties.Namespace, null);
                }
                else if (!DavProperties.TryWrite(writer, entry, name))
                {
                    missing.Add(name);
                }
            }

            EndPropstat(writer, "HTTP/1.1 200 OK");
        }
        else
        {
            missing.AddRange(wanted);
        }

        if (missing.Count > 0)
        {
            writer.WriteStartElement("D", "propstat", DavProperties.Namespace);
            writer.WriteStartElement("D", "prop", DavProperties.Namespace);
            foreach (XmlQualifiedName name in missing)
            {
                writer.WriteStartElement(name.Name, name.Namespace);
                writer.WriteEndElement();
            }

            EndPropstat(writer, "HTTP/1.1 404 Not Found");
        }

        writer.WriteEndElement();
    }

    private static void EndPropstat(XmlWriter writer, string status)
    {
        writer.WriteEndElement();
        writer.WriteElementString("D", "status", DavProperties.Namespace, status);
        writer.WriteEndElement();
    }
}
