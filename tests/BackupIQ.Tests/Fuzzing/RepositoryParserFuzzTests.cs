using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Keys;
using BackupIQ.Repository.Keys.Services;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using BackupIQ.Tests.Repository;
using BackupIQ.Tests.Repository.Keys;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Fuzzing;

/// <summary>Whatever stands in a repository's objects, their parsers refuse it or read it; checksums and seals are made to fit, so that what lies behind them is reached.</summary>
[Trait("kind", "fuzz")]
public sealed class RepositoryParserFuzzTests
{
    private static readonly FuzzSeeds Seeds = FuzzSeeds.Get();

    [Fact]
    public void PackHeads() => Fuzz.Run([.. Seeds.Packs.Select(static p => p[..64])], static bytes =>
    {
        if (PackHead.TryRead(bytes, out PackHead head))
        {
            byte[] again = new byte[head.Size];
            head.Write(again);
            PackHead.TryRead(again, out PackHead read).ShouldBeTrue();
            read.Salts.ShouldBe(head.Salts);
        }
    });

    [Fact]
    public void PackTrailers() => Fuzz.Run([.. Seeds.Packs.Select(static p => p[^PackTrailer.Size..])], static bytes =>
    {
        PackTrailer.TryRead(bytes, bytes.Length, out _);
        if (bytes.Length == PackTrailer.Size)
        {
            Blake3.Hash(bytes.AsSpan(0, 24), bytes.AsSpan(24, 4));
            long size = BitConverter.ToInt64(bytes, 8);
            if (PackTrailer.TryRead(bytes, size, out PackTrailer trailer))
            {
                (trailer.FirstTable + (2L * trailer.TableLength) + PackTrailer.Size).ShouldBe(size);
            }
        }
    });

    [Fact]
    public void ContentsTables()
    {
        long size = Seeds.Tables.Max(static t => t.PackSize);
        Fuzz.Run([.. Seeds.Tables.Select(static t => t.Table)], bytes =>
        {
            PackContents contents = PackContents.Read(bytes, size, 1);
            byte[] again = new byte[contents.Size];
            contents.Write(again);
            again.Length.ShouldBe(bytes.Length);
            contents.Frames.ShouldAllBe(f => f.IsPlausible(size, 1));
        });
    }

    [Fact]
    public void WholePacks()
    {
        // Under the name that the bytes have, so that only what is in them can give them away.
        byte[][] packs = [.. Seeds.Packs.OrderBy(static p => p.Length).Take(6)];
        FakeStorage storage = new();
        BackupRepository repository = OpenOn(storage);
        using PackPass pass = new(repository);
        Fuzz.Run(
            packs,
            bytes =>
            {
                PackKind kind = bytes.Length > 5 && bytes[5] == (byte)PackKind.Data ? PackKind.Data : PackKind.Metadata;
                byte[] digest = new byte[PackId.Size];
                Blake3.Hash(bytes, digest);
                PackId id = PackId.Read(digest);
                string name = RepositoryLayout.Pack(kind, id).Value;
                storage.Objects[name] = bytes;
                try
                {
                    PackAnatomy.ReadAsync(repository, kind, id, bytes.Length, CancellationToken.None).GetAwaiter().GetResult();
                    (PackHead head, PackContents contents) = PackReader.ReadContentsAsync(repository, kind, id, bytes.Length, CancellationToken.None).GetAwaiter().GetResult();
                    pass.RunAsync(kind, id, PackPlan.Of(head, contents), CancellationToken.None).GetAwaiter().GetResult().ShouldBeTrue();
                }
                finally
                {
                    storage.Objects.Remove(name);
                }
            },
            allocates: 16 << 20);
    }

    [Fact]
    public void IndexSegments()
    {
        using ScratchFolder scratch = new();
        string path = scratch.At("segment.run");
        Fuzz.Run(Seeds.PlainOf(ObjectKind.Index), bytes =>
        {
            IndexRun.Validate(bytes);
            IndexRun.Write(path, bytes, ["i/name"]);
            using IndexRun run = IndexRun.Open(path);
            Follow(run);
        });
    }

    [Fact]
    public void CachedRuns()
    {
        using ScratchFolder scratch = new();
        string path = scratch.At("cached.run");
        List<byte[]> runs = [];
        foreach (byte[] segment in Seeds.PlainOf(ObjectKind.Index).Take(3))
        {
            IndexRun.Write(path, segment, ["i/name", "i/other"]);
            runs.Add(File.ReadAllBytes(path));
        }

        Fuzz.Run(runs, bytes =>
        {
            File.WriteAllBytes(path, bytes);
            using IndexRun run = IndexRun.Open(path);
            Follow(run);
        });
    }

    [Fact]
    public void SealedObjects()
    {
        foreach (ObjectKind kind in (ObjectKind[])[ObjectKind.Snapshot, ObjectKind.Index, ObjectKind.SessionOpen])
        {
            (_, StorageKey name, _) = Seeds.Plain.First(o => o.Kind == kind);
            Fuzz.Run([Seeds.Storage.Objects[name.Value]], bytes =>
            {
                SealedObject.TryPeekKind(bytes, out _);
                SealedObject.Open(Seeds.Keys, kind, name, bytes);
            });
        }
    }

    [Fact]
    public void WhatASealHolds()
    {
        (_, StorageKey name, _) = Seeds.Plain.First(static o => o.Kind == ObjectKind.Index);
        byte[] small = [0, 5, 0, 0, 0, .. "hello"u8];
        Fuzz.Run([small, Inner(name)], bytes => SealedObject.Open(Seeds.Keys, ObjectKind.Index, name, SealInner(ObjectKind.Index, name, bytes)), allocates: 8 << 20);
    }

    [Fact]
    public void SessionDocuments()
    {
        using ScratchFolder scratch = new();
        SessionId session = SessionId.New();
        StorageKey name = RepositoryLayout.SessionOpen(session);
        FakeStorage storage = new();
        BackupRepository repository = OpenOn(storage);
        scratch.Write($"{session}.0.pack", "left behind"u8);
        Fuzz.Run(Seeds.PlainOf(ObjectKind.SessionOpen), bytes =>
        {
            storage.Objects[name.Value] = SealedObject.Seal(Seeds.Keys, ObjectKind.SessionOpen, name, bytes);
            SessionSweep.RunAsync(repository, scratch.Path, TimeProvider.System, CancellationToken.None).GetAwaiter().GetResult();
            storage.Objects.Clear();
        });
    }

    [Fact]
    public void KeySlots()
    {
        (string id, byte[] slot) = KeyFileSlot();
        HeadedObject.TryParse(slot, out byte[] head, out byte[] body, out _).ShouldBeTrue();
        Fuzz.Run([slot], bytes => Try(bytes));
        Fuzz.Run([head], bytes => Try(bytes.Length < 40_000 ? HeadedObject.Compose(bytes, body) : bytes), name: "KeySlotHeads");
        Fuzz.Run([body], bytes => Try(bytes.Length < 40_000 ? HeadedObject.Compose(head, bytes) : bytes), name: "KeySlotBodies");

        void Try(byte[] bytes)
        {
            if (KeySlot.TryParse(id, bytes, out _) is { } parsed)
            {
                parsed.TryOpen(Seeds.Key.Bytes, out RepositoryKeys? keys);
                keys?.Dispose();
            }
        }
    }

    [Fact]
    public void SlotsThatFollowAndEpochs()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        HeadedObject.TryParse(GoldenObjects.FollowingSlot, out byte[] slotHead, out byte[] slotBody, out _).ShouldBeTrue();
        HeadedObject.TryParse(GoldenObjects.Epoch, out byte[] head, out byte[] body, out _).ShouldBeTrue();
        Fuzz.Run([slotHead], bytes => Slot(bytes.Length < 40_000 ? HeadedObject.Compose(bytes, slotBody) : bytes), name: "FollowingSlotHeads");
        Fuzz.Run([GoldenObjects.Epoch], Epoch, name: "Epochs");
        Fuzz.Run([head], bytes => Epoch(bytes.Length < 40_000 ? HeadedObject.Compose(bytes, body) : bytes), name: "EpochHeads");
        Fuzz.Run([body], bytes => Epoch(bytes.Length < 40_000 ? HeadedObject.Compose(head, bytes) : bytes), name: "EpochBodies");

        void Slot(byte[] bytes) => KeySlot.TryParse(GoldenObjects.FollowingSlotId, bytes, out _)?.ProvenPublicKey(keys);

        void Epoch(byte[] bytes)
        {
            if (EpochObject.TryParse(3, bytes, out _) is { } epoch)
            {
                epoch.IsProven(keys).ShouldBe(bytes.AsSpan().SequenceEqual(GoldenObjects.Epoch));
                epoch.Follows(GoldenObjects.FollowingSlotId, new byte[65]).ShouldBeFalse();
                epoch.TryUnwrap(keys, GoldenObjects.FollowingSlotId, FixedKeys.Salt, out _);
            }
        }
    }

    [Fact]
    public void Keystores()
    {
        byte[] secret = KeySlotTests.FixedKdf.Derive("correct horse"u8);
        HeadedObject.TryParse(GoldenObjects.Keystore, out byte[] head, out byte[] body, out _).ShouldBeTrue();
        (KeystoreHead fields, _, _) = KeystoreFile.Parse(GoldenObjects.Keystore);
        byte[] content = System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(KeystoreFile.Open(fields, head, body, secret)!, KeyJson.Default.KeystoreContent);
        Fuzz.Run([GoldenObjects.Keystore], Open);
        Fuzz.Run([head], bytes => Open(bytes.Length < 40_000 ? HeadedObject.Compose(bytes, body) : bytes), name: "KeystoreHeads");
        Fuzz.Run([body], bytes => Open(bytes.Length < 40_000 ? HeadedObject.Compose(head, bytes) : bytes), name: "KeystoreBodies");
        Fuzz.Run([content], bytes => KeystoreFile.Read(bytes), name: "KeystoreContents");

        void Open(byte[] bytes)
        {
            (KeystoreHead fields, byte[] own, byte[] rest) = KeystoreFile.Parse(bytes);
            KeystoreFile.Open(fields, own, rest, secret);
        }
    }

    [Fact]
    public void Configurations()
    {
        (string name, byte[] copy) = Seeds.Storage.Objects.First(static o => o.Key.StartsWith("config/", StringComparison.Ordinal));
        StorageKey key = new(name);
        HeadedObject.TryParse(copy, out byte[] head, out byte[] body, out _).ShouldBeTrue();
        byte[] settings = SealedObject.Open(Seeds.Keys, ObjectKind.Configuration, key, body, head);
        Fuzz.Run([copy], bytes => ConfigurationObject.Parse(key, bytes).Open(Seeds.Keys));
        Fuzz.Run(
            [head],
            bytes => Open(bytes.Length < 40_000 ? HeadedObject.Compose(bytes, SealedObject.Seal(Seeds.Keys, ObjectKind.Configuration, key, settings, bytes, SaltRow.New(Seeds.Keys))) : bytes),
            name: "ConfigurationHeads");
        Fuzz.Run(
            [settings],
            bytes => Open(bytes.Length < 40_000 ? HeadedObject.Compose(head, SealedObject.Seal(Seeds.Keys, ObjectKind.Configuration, key, bytes, head, SaltRow.New(Seeds.Keys))) : bytes),
            name: "ConfigurationSettings");

        void Open(byte[] bytes)
        {
            RepositoryConfiguration opened = ConfigurationObject.Parse(key, bytes).Open(Seeds.Keys);
            opened.Require(RepositoryOperation.Write);
            _ = (opened.Label.Length, opened.Created, opened.Chunker.Profile, opened.Compression);
        }
    }

    // Every number that a look-up follows.
    private static void Follow(IndexRun run)
    {
        for (uint i = 0; i < run.Layout.Packs; i++)
        {
            _ = run.PackAt(i);
        }

        for (uint i = 0; i < run.Layout.Tombstones; i++)
        {
            _ = run.TombstoneAt(i);
        }

        for (ulong e = 0; e < (ulong)run.EntryCount; e++)
        {
            IndexEntry entry = run.EntryAt(e);
            FrameEntry frame = run.FrameAt(entry.Frame, out uint number);
            (entry.Offset + (long)entry.Length).ShouldBeLessThanOrEqualTo(frame.PlainLength);
            PackEntry pack = run.PackAt(number);
            run.Find(entry.Prefix).ShouldBeGreaterThanOrEqualTo(0);
            _ = run.SaltAt(pack.FirstSalt + frame.SaltRow);
        }
    }

    private static (string Id, byte[] Slot) KeyFileSlot()
    {
        foreach ((string name, byte[] bytes) in Seeds.Storage.Objects.Where(static o => o.Key.StartsWith("keys/", StringComparison.Ordinal)))
        {
            if (KeySlot.TryParse(name[5..], bytes, out _) is { Head.Type: KeySlotHead.KeyFileType })
            {
                return (name[5..], bytes);
            }
        }

        throw new InvalidOperationException("There is no slot of a key file.");
    }

    // The inner part of a sealed object: codec, plain length, payload.
    private static byte[] Inner(StorageKey name)
    {
        byte[] bytes = Seeds.Storage.Objects[name.Value];
        byte[] inner = new byte[bytes.Length - SealedObject.HeaderSize - FrameCipher.TagSize];
        SaltRow row = new(BitConverter.ToUInt16(bytes, 6), bytes[8], Salt.Read(bytes.AsSpan(12)));
        using FrameCipher cipher = Seeds.Keys.CreateCipher(row, SealPurpose.Index);
        cipher.TryOpen(0, bytes.AsSpan(SealedObject.HeaderSize), Associated(bytes, name), inner).ShouldBeTrue();
        return inner;
    }

    private static byte[] SealInner(ObjectKind kind, StorageKey name, byte[] inner)
    {
        SaltRow row = SaltRow.New(Seeds.Keys);
        byte[] bytes = [.. SealedObject.Seal(Seeds.Keys, kind, name, [], [], row)[..SealedObject.HeaderSize], .. new byte[inner.Length + FrameCipher.TagSize]];
        using FrameCipher cipher = Seeds.Keys.CreateCipher(row, ObjectKinds.PurposeOf(kind));
        cipher.Seal(0, inner, Associated(bytes, name), bytes.AsSpan(SealedObject.HeaderSize));
        return bytes;
    }

    private static byte[] Associated(byte[] bytes, StorageKey name) =>
        [.. bytes[..SealedObject.HeaderSize], .. Convert.FromHexString(Seeds.Keys.Repository.ToString()), .. System.Text.Encoding.UTF8.GetBytes(name.Value)];

    // The seeds' repository as seen on another storage.
    private static BackupRepository OpenOn(FakeStorage storage)
    {
        foreach ((string name, byte[] bytes) in Seeds.Storage.Objects.Where(static o => o.Key.StartsWith("keys/", StringComparison.Ordinal) || o.Key.StartsWith("config/", StringComparison.Ordinal)))
        {
            storage.Objects[name] = bytes;
        }

        return RepositoryBuilder.OpenAsync(storage, new Credentials { KeyFile = Seeds.Key }).GetAwaiter().GetResult();
    }
}
