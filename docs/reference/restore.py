#!/usr/bin/python3
"""Gets data out of a BackupIQ repository without BackupIQ: a reader written from docs/format.md and its two companion pages alone.

    restore.py REPO [--password-file F | --key-file F | --recovery-kit F] list
    restore.py REPO … restore SNAPSHOT[:/PATH] TARGET     the whole snapshot under TARGET, or what PATH holds
    restore.py REPO … verify                              reads everything and says which byte is wrong

REPO is a folder with a copy of the repository; nothing is written there. Needs Python 3.11 on Linux, python3-cryptography, libzstd1 and liblz4-1;
with python3-numpy it hashes some four times faster. See README.md beside this file.
Exit codes: 0 done · 1 failed · 2 usage · 3 some entries could not be written · 10 no repository · 12 wrong password or key · 14 damage.
"""
import argparse, array, base64, bz2, collections, ctypes, datetime, functools, getpass, hashlib, hmac, io, itertools, json, lzma, os, re, resource, stat
import struct, sys, types, zlib
try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError: sys.exit("restore.py needs Debian's python3-cryptography (apt install python3-cryptography python3-numpy), and /usr/bin/python3 to run it")
try: import numpy
except ImportError: numpy = None
MIB = 1 << 20
class Damage(Exception): """Something in the repository is not as it was written: which object, and where in it."""
class Failure(Exception): """Ends the program: (exit code, what to do)."""
def say(text): print(text, file=sys.stderr, flush=True)
def shown(name):  # bytes for people: what is not printable text is escaped
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name.decode("utf-8", "backslashreplace"))
# BLAKE3 (see BLAKE3-specs), many leaves of 1 KiB side by side. A word of all lanes is an array of u32; without numpy an integer, 64 bits a lane.
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDERS = list(itertools.accumulate(range(6), lambda order, _: [order[i] for i in (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)], initial=[*range(16)]))
COLUMNS_DIAGONALS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
START, END, PARENT, ROOT, KEYED = 1, 2, 4, 8, 16
class ArrayLanes:
    def __init__(self, count): self.count = count
    def load(self, rows): return numpy.ascontiguousarray(numpy.frombuffer(rows, "<u4").reshape(self.count, -1).T)
    def word(self, values): return numpy.array(values, numpy.uint32)
    def same(self, value): return numpy.full(self.count, value, numpy.uint32)
    def first(self, word, count): return word[:count]
    def wrap(self, word): return word
    def rotate(self, word, by): return (word >> numpy.uint32(by)) | (word << numpy.uint32(32 - by))
    def store(self, words): return numpy.stack(words, 1).astype("<u4").tobytes()
class IntegerLanes:
    def __init__(self, count):
        self.count, self.ones = count, int.from_bytes(b"\1\0\0\0\0\0\0\0" * count, "little")
        self.mask = (self.ones << 32) - self.ones
    def load(self, rows): return [self.word(memoryview(rows).cast("I")[i::len(rows) // 4 // self.count]) for i in range(len(rows) // 4 // self.count)]
    def word(self, values): return int.from_bytes(array.array("Q", values).tobytes(), "little")
    def same(self, value): return self.ones * value
    def first(self, word, count): return word & (1 << 64 * count) - 1
    def wrap(self, word): return word & self.mask
    def rotate(self, word, by): return (word >> by | word << 32 - by) & self.mask
    def store(self, words): return b"".join(struct.pack("<8I", *row) for row in zip(*(array.array("Q", w.to_bytes(8 * self.count, "little")) for w in words)))
def compress(lanes, chain, message, low, high, size, flags):
    """BLAKE3's compression function in all lanes; returns the next chaining value."""
    v, wrap, rotate = [*chain, *map(lanes.same, IV[:4]), low, high, size, flags], lanes.wrap, lanes.rotate
    for order in ORDERS:
        for i, (a, b, c, d) in enumerate(COLUMNS_DIAGONALS):
            for word, right, left in ((message[order[2 * i]], 16, 12), (message[order[2 * i + 1]], 8, 7)):
                v[a] = wrap(v[a] + v[b] + word)
                v[d] = rotate(v[d] ^ v[a], right)
                v[c] = wrap(v[c] + v[d])
                v[b] = rotate(v[b] ^ v[c], left)
    return [v[i] ^ v[i + 8] for i in range(8)]
def chaining_values(leaves, start, always, first, last):
    """The value of each of (bytes, counter, is root), with these flags in every block, the first and the last."""
    values, order = [b""] * len(leaves), sorted(range(len(leaves)), key=lambda i: -len(leaves[i][0]))  # those that go on longest come first
    for begin in range(0, len(order), 8192):
        part = order[begin:begin + 8192]
        blocks, lanes = [max(1, -(-len(leaves[i][0]) // 64)) for i in part], (ArrayLanes if numpy else IntegerLanes)(len(part))
        words, chain = lanes.load(b"".join(bytes(leaves[i][0]).ljust(64 * blocks[0], b"\0") for i in part)), [lanes.same(word) for word in start]
        for block in range(blocks[0]):
            flags = [always | first * (block == 0) | (n == block + 1) * (last | ROOT * leaves[i][2]) for i, n in zip(part, blocks)]
            chain = compress(lanes, chain, [lanes.first(word, lanes.count) for word in words[16 * block:16 * block + 16]],
                             lanes.word([leaves[i][1] & 0xFFFFFFFF for i in part]), lanes.word([leaves[i][1] >> 32 for i in part]),
                             lanes.word([min(64, len(leaves[i][0]) - 64 * block) for i in part]), lanes.word(flags))
            left = sum(n > block + 1 for n in blocks)
            if left < lanes.count:
                rows = lanes.store(chain)
                for lane, i in enumerate(part[left:], left): values[i] = rows[32 * lane:32 * lane + 32]
                chain, lanes, part, blocks = [lanes.first(word, left) for word in chain], type(lanes)(left), part[:left], blocks[:left]
    return values
def blake3(messages, key=None):
    """The BLAKE3-256 of each message, keyed if there is a key."""
    start, mode, counts = struct.unpack("<8I", key) if key else IV, KEYED if key else 0, [max(1, -(-len(m) // 1024)) for m in messages]
    leaves = [(memoryview(m)[1024 * j:1024 * j + 1024], j, n == 1) for m, n in zip(messages, counts) for j in range(n)]
    values = iter(chaining_values(leaves, start, mode, START, END))
    nodes = [list(itertools.islice(values, n)) for n in counts]
    while any(len(n) > 1 for n in nodes):
        values = iter(chaining_values([(n[j] + n[j + 1], 0, len(n) == 2) for n in nodes for j in range(0, len(n) - 1, 2)], start, mode | PARENT, 0, 0))
        nodes = [list(itertools.islice(values, len(n) // 2)) + n[len(n) // 2 * 2:] for n in nodes]
    return [n[0] for n in nodes]
# AES-256-GCM, and where in a sealed text the damage is
def hkdf(key, salt, info):  # 64 bytes of it; the first 32 are what 32 would be
    extracted = hmac.digest(salt or bytes(32), key, "sha256")
    first = hmac.digest(extracted, info + b"\1", "sha256")
    return first + hmac.digest(extracted, first + info + b"\2", "sha256")
def unsealed(key, counter, sealed, associated):
    """The opened text, or None."""
    try: return AESGCM(key).decrypt(struct.pack(">IQ", 0, counter), sealed, associated) if key else None
    except InvalidTag: return None
def multiply(x, y):
    """In GCM's field of 2^128."""
    product = 0
    for bit in range(127, -1, -1):
        product ^= y if x >> bit & 1 else 0
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return product
def wrong_bytes(key, counter, sealed, associated):
    """What was changed, as {offset: right byte}, where all of it lies in one block of 16 bytes; else {}. The tag is linear: the difference of the
    right and the stored tag, divided by the hash key once for each block after the damaged one, is there the very change."""
    text, nonce = sealed[:-16], struct.pack(">IQ", 0, counter)
    plain = Cipher(algorithms.AES(key), modes.CTR(nonce + b"\0\0\0\2")).encryptor().update(text)
    change = int.from_bytes(AESGCM(key).encrypt(nonce, plain, associated)[-16:], "big") ^ int.from_bytes(sealed[-16:], "big")
    power, inverse = int.from_bytes(Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(bytes(16)), "big"), 1 << 127
    for _ in range(127):  # the hash key to the power of 2^128 - 2
        power = multiply(power, power)
        inverse = multiply(inverse, power)
    tables = [[0] for _ in range(16)]  # what each value of each byte adds to a product with the inverse
    for bit in range(128):
        single = multiply(1 << bit, inverse)
        tables[15 - bit // 8] += [entry ^ single for entry in tables[15 - bit // 8]]
    blocks = -(-len(text) // 16)
    for power in range(blocks + 2):  # 0 is the tag itself, 1 the block of lengths, 2 the last block of the text
        offset, found = 16 * (blocks + 1 - power) if power else len(text), change.to_bytes(16, "big")
        if power != 1 and found.count(0) >= 8 and not any(found[len(text) - offset:] if power else b""):
            return {offset + i: sealed[offset + i] ^ x for i, x in enumerate(found) if x}
        change = 0
        for table, byte in zip(tables, found): change ^= table[byte]
    return {}
def guessed(data, fits):
    """The one byte whose change makes the data fit, as {offset: right byte}; else {}."""
    trials = (({i: b}, data[:i] + bytes([b]) + data[i + 1:]) for i in range(len(data)) for b in range(256))
    return next((right for right, trial in trials if fits(trial)), {})
# Compression, passwords, recovery kits
def decompress(codec, data, plain):
    """Exactly `plain` bytes and never many more in memory, or an exception of CORRUPT."""
    out, done = ctypes.create_string_buffer(plain), plain
    if codec == 1: done = ctypes.CDLL("libzstd.so.1").ZSTD_decompress(out, ctypes.c_size_t(plain), data, ctypes.c_size_t(len(data)))
    elif codec == 2: done = ctypes.CDLL("liblz4.so.1").LZ4_decompress_safe(data, out, len(data), plain)
    elif codec:
        make = {3: lambda: zlib.decompressobj(31), 4: bz2.BZ2Decompressor, 5: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, 1 << 26)}[codec]
        data = make().decompress(data, plain + 1)
    data = out.raw if codec in (1, 2) else data
    if len(data) != plain or done != plain: raise ValueError("not the length that it should have")
    return data
CORRUPT = (ValueError, KeyError, EOFError, OSError, zlib.error, lzma.LZMAError)
def fields(pairs):
    if len(dict(pairs)) != len(pairs): raise ValueError("a repeated field")
    return dict(pairs)
strict_json = functools.partial(json.loads, object_pairs_hook=fields)
def derive(kdf, password):
    """The secret of a password under these parameters, or None where they are not allowed."""
    name, salt, n, r, p, iterations = kdf["name"], bytes.fromhex(kdf["salt"]), *(kdf.get(field, 0) for field in ("n", "r", "p", "iterations"))
    if not 16 <= len(salt) <= 64 or len(kdf) != {"scrypt": 5, "pbkdf2-sha512": 3}.get(name): return None
    if name == "scrypt" and n in [1 << i for i in range(10, 23)] and 1 <= r <= 64 and 1 <= p <= 64 and 128 * n * r * p <= 2**30:
        return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=2**31 - 1, dklen=32)
    return hashlib.pbkdf2_hmac("sha512", password, salt, iterations, 32) if 1_000 <= iterations <= 20_000_000 else None
def read_kit(text):
    """A recovery kit's secret, and its block where that is whole."""
    alphabet, secret = "0123456789ABCDEFGHJKMNPQRSTVWXYZ", {}
    lines = re.findall(r"^\s*([1-4])[:.)]([-0-9A-Za-z ]+)\s*$", text, re.M)
    for all_four in re.findall(r"BACKUPIQ-KIT:1:([0-9A-Za-z]{60})", text): lines += [(str(i + 1), all_four[15 * i:15 * i + 15]) for i in range(4)]
    for number, line in lines:
        line = line.upper().translate(str.maketrans("OIL", "011", "- "))
        if len(line) == 15 and set(line) <= set(alphabet):
            value = functools.reduce(lambda value, c: value << 5 | alphabet.index(c), line, 0)
            part = (value >> 10).to_bytes(9, "big")[1:]
            check = hashlib.sha256(b"BackupIQ kit line" + bytes([int(number)]) + part).digest()
            if value < 1 << 74 and int.from_bytes(check[:2], "big") >> 6 == value & 1023: secret[number] = part
    if len(secret) != 4: raise Failure(12, f"line {', '.join(n for n in '1234' if n not in secret)} of the recovery kit is missing or mistyped")
    block = re.search(r"-----BEGIN BACKUPIQ RECOVERY KIT-----([A-Za-z0-9+/=\s]*)-----END", text)
    data = base64.b64decode("".join(block[1].split()) + "==") if block else b""
    return b"".join(secret[n] for n in "1234"), strict_json(data[:-32]) if hashlib.sha256(data[:-32]).digest() == data[-32:] else None
KINDS = {"config": (1,), "i": (3,), "l": (4, 5, 6, 8), "s": (7, 8), "sp": (9,), "a": (10,), "f": (10,), "g": (11, 12), "p": (15,)}  # what may lie under a name
PURPOSES = {1: "configuration", 3: "index", 7: "snapshot", 9: "snapshot", 10: "snapshot"}  # of keys; maintenance for the others
# A frame or a contents table (number -1); kind is that of the associated data; cuts are (id's first 16 bytes, offset, length) of the chunks.
Frame = collections.namedtuple("Frame", "pack number kind offset stored plain counter codec row row_at cuts")
class Repository:
    """A folder of objects, opened with one secret. What comes out has been verified; damage is told, and mended in memory where a seal shows how."""
    def __init__(self, path, password, key_file, kit):
        self.path, self.told, self.named, self.rows, self.by_index, self.last, self.ahead, self.masters = path, set(), set(), {}, None, None, 1, {}
        secret, block = read_kit(kit) if kit else (key_file, None)
        wanted = "kit" if kit else "keyfile" if key_file else "password"
        configurations, slots = self.headed_objects("config"), self.headed_objects("keys")
        if not (configurations or slots or self.told or any(self.list("d"))):
            raise Failure(10, f"{path} holds no BackupIQ repository: it should have the folders config, keys, d, m, i and s")
        slots += self.headed_objects("", {"keys/" + block["slot_id"]: base64.b64decode(block["slot"])}) if block else []
        epochs = sorted((o for o in slots if o[0].startswith("keys/epoch.")), key=lambda o: o[1]["epoch"])
        whole = [c for c in configurations if f"{c[1]['generation']:08}" == c[0].rpartition(".")[2]]
        if not whole and not block:
            raise Failure(12, "no copy of the configuration is whole; a recovery kit opens the repository without: --recovery-kit FILE")
        head = max((c[1] for c in whole), key=lambda head: head["generation"], default=block and block["configuration"])
        if head["min_reader"] > 1 or set(head["features"]["read"]) - {"epochs"}:
            raise Failure(1, f"this repository needs a newer reader (format {head['min_reader']}, features {head['features']['read']})")
        self.id, ring, secrets = bytes.fromhex(head["repository"]), None, {}
        for name, slot, raw, body in slots:
            if slot["repository"] != head["repository"] or slot.get("type") != wanted or name != "keys/" + slot["slot"]: continue
            kdf, bound = json.dumps(slot["kdf"]), bytes.fromhex(slot["slot"])
            if wanted == "password" and kdf not in secrets and len(secrets) < 4: secrets[kdf] = derive(slot["kdf"], password)
            mine = secrets.get(kdf) if wanted == "password" else secret
            both = hkdf(mine, bound, f"BackupIQ/1/slot/{wanted}/".encode() + self.id) if mine else b""
            if mine and both[32:] == body[:32]:
                one = unsealed(both[:32], 0, body[32:], self.id + bound + raw)
                if not one: self.found(f"{name}: its check fits the secret, its seal does not hold")
                elif len(masters := self.all_masters(one, mine, bound, epochs)) > len(self.masters): ring, self.masters = one, masters
        if not ring:
            raise Failure(12, f"no {wanted} slot opens with this secret (of {len(slots)} whole slots)"
                          + ("; is keys/ damaged, a recovery kit opens the repository: --recovery-kit FILE" if self.told and not kit else ""))
        end = 4 + 34 * struct.unpack_from("<H", ring, 2)[0]
        self.id_keys = {folder: hkdf(ring[end:end + 32], b"", b"BackupIQ/1/id/%s/" % label + self.id)[:32] for folder, label in (("d", b"data"), ("m", b"metadata"))}
        for name, _, raw, body in whole: self.attempt(self.opened, name, body, raw)
    def all_masters(self, ring, secret, bound, epochs):
        """The masters by epoch: those of a keyring, and of the epochs that began since, which are wrapped for the holder of the slot's secret."""
        masters = {struct.unpack_from("<H", ring, at)[0]: ring[at + 2:at + 34] for at in range(4, 4 + 34 * struct.unpack_from("<H", ring, 2)[0], 34)}
        number = int.from_bytes(hkdf(secret, bound, b"BackupIQ/1/slot/agreement/" + self.id)[:48], "big")  # modulo the order of P-256, less 1
        private = ec.derive_private_key(number % 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632550 + 1, ec.SECP256R1())
        for name, head, raw, body in epochs:
            last, other = max(masters), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(head["public"]))
            key = hkdf(private.exchange(ec.ECDH(), other) + masters[last], bound, b"BackupIQ/1/epoch/wrap/" + self.id)[:32]
            entry = next((body[at:at + 80] for at in range(0, len(body) - 32, 80) if body[at:at + 16] == bound), b"")
            master = unsealed(key, 0, entry[32:], self.id + entry[:32] + raw) if head["epoch"] == last + 1 else None
            if master: masters[last + 1] = master
        return masters
    def found(self, damage):
        """Tells of damage, once."""
        if str(damage) not in self.told:
            self.told.add(str(damage))
            print(f"DAMAGE {damage}", flush=True)
    def attempt(self, action, *arguments):
        """What the action returns, or None when it met damage, which is told."""
        try: return action(*arguments)
        except Damage as damage: self.found(damage)
    def mended(self, name, data, base, right, what):
        """The data with the bytes that a seal or checksum proves right, told; raises where there are none."""
        if not right: raise Damage(f"{name}: {what} (bytes {base} to {base + len(data) - 1}) is wrong in several places or cut short")
        self.found(f"{name}: " + ", ".join(f"byte {base + i} is 0x{data[i]:02x} and must be 0x{b:02x}" for i, b in right.items()) + f" ({what})")
        return bytes(right.get(i, b) for i, b in enumerate(data))
    def list(self, prefix):
        """Keys below a folder: a key is a file's path, with / between its parts."""
        for folder, folders, files in os.walk(os.path.join(self.path, prefix)):
            folders.sort()
            yield from (os.path.relpath(os.path.join(folder, name), self.path) for name in sorted(files))
    def read(self, key, offset=0, length=67_108_930):
        try:
            with open(os.path.join(self.path, key), "rb") as file: return (file.seek(offset), file.read(length))[1]
        except OSError as error: raise Damage(f"{key}: cannot be read: {error.strerror}")
    def headed_objects(self, prefix, given=None):
        """Slots or configurations: (name, head, head as it stands, body)."""
        whole = lambda data: hashlib.sha256(data[:-65]).hexdigest().encode() + b"\n" == data[-65:]
        def one(name):
            data = given[name] if given else self.read(name, 0, 65_537)
            if not whole(data):
                data = self.mended(name, data, 0, guessed(data, whole) if len(data) < 8192 else {}, "its checksum does not fit: the object")
            try:
                head, body, _, _ = data.split(b"\n")
                return name, strict_json(head), head, base64.b64decode(body, validate=True)
            except (ValueError, RecursionError): raise Damage(f"{name}: not three lines of head, body and checksum")
        return [item for item in (self.attempt(one, name) for name in given or self.list(prefix)) if item]
    def sealing_key(self, purpose, epoch, source, salt):
        """None where there is no such key."""
        return hkdf(self.masters[epoch], salt, f"BackupIQ/1/{purpose}/".encode() + self.id)[:32] if source == 0 and epoch in self.masters else None
    def unseal(self, name, what, header, header_at, key, associated, counter, data, base, try_header):
        """Opens what is sealed by the key of a header (a salt row or an object's head); damage of one byte in either is found and mended."""
        opens = lambda header: unsealed(key(header), counter, data, associated(header))
        plain = opens(header)
        if plain is None:
            right = wrong_bytes(key(header), counter, data, associated(header)) if key(header) else {}
            other = guessed(header, lambda header: opens(header) is not None) if not right and try_header and len(data) < MIB // 2 else {}
            if other: header = self.mended(name, header, header_at, other, what)
            else: data = self.mended(name, data, base, right, what)
            plain = opens(header)
        return plain, header
    def opened(self, name, data=None, context=b""):
        """The kind and content of a sealed object."""
        data, kinds = self.read(name) if data is None else data, KINDS[name.partition("/")[0]]
        if not 65 <= len(data) <= 67_108_929: raise Damage(f"{name}: is {len(data)} bytes long, a sealed object has 65 to 67,108,929")
        key = lambda head: (self.sealing_key(PURPOSES.get(head[5], "maintenance"), *struct.unpack_from("<HB", head, 6), head[12:])
                            if head[5] in kinds and head[:5] == b"BIQO\1" else None)
        plain, head = self.unseal(name, "sealed object", data[:44], 0, key, lambda head: head + self.id + name.encode() + context, 0, data[44:], 44, True)
        codec, length = struct.unpack_from("<BI", plain)
        try: return head[5], decompress(codec, plain[5:], length if length <= (4 if codec else 64) * MIB else 0)
        except CORRUPT: raise Damage(f"{name}: does not decompress to the {length} bytes that it claims")
    def load(self, from_index=False, thorough=False):
        """Learns where each chunk lies: by the packs' contents tables; by the index where that is asked for or a pack's tables are lost. Thorough
        opens everything, and returns the ids of all chunks that are there."""
        self.places, self.packs, self.cache, good = {}, {}, collections.OrderedDict(), set()
        keys = [key for folder in "md" for key in self.list(folder) if re.fullmatch(r"[dm]/([0-9a-f]{2})/\1[0-9a-f]{62}", key)]
        for number, key in enumerate(keys, 1):
            if thorough: self.attempt(self.check_name, key)
            frames = self.packs[key] = (None if from_index else self.attempt(self.tabled, key, thorough)) or self.indexed().get(key, [])
            for frame in frames:
                one = (frame,)
                for prefix, _, _ in struct.iter_unpack("<16sII", frame.cuts): self.places[prefix] = self.places.get(prefix, ()) + one
            for begin in range(0, len(frames) if thorough else 0, 16):
                good.update(itertools.chain.from_iterable(self.open_frames(frames[begin:begin + 16])))
            if number % (10 if thorough else 1000) == 0: say(f"{number} of {len(keys)} packs read")
        return good
    def check_name(self, key):
        """A pack is named by the hash of its bytes; it is read whole when it is first used."""
        if key not in self.named and blake3([self.read(key, 0, 1 << 32)])[0].hex() != key[5:]: self.found(f"{key}: its bytes do not give its name")
        self.named.add(key)
    def tabled(self, key, thorough):
        """The frames of a pack by its contents table. Whatever is wrong with the pack's head, tables and trailer is told."""
        kind, size = " dm".index(key[0]), os.path.getsize(os.path.join(self.path, key))
        head, end = self.read(key, 0, 64), self.read(key, max(0, size - 32), 32)
        whole = lambda ends: [e[24:] == check[:4] + b"BIQE" for e, check in zip(ends, blake3([e[:24] for e in ends]))]
        if size < 136 or not whole([end])[0]:
            ends = [end[:i] + bytes([b]) + end[i + 1:] for i in range(len(end)) for b in range(256)]
            right = next((e for e, good in zip(ends, whole(ends)) if good), b"")
            end = self.mended(key, end, size - len(end), {i: b for i, b in enumerate(right) if b != end[i]}, "trailer")
        first, length, size_there = struct.unpack_from("<IIQ", end)
        if not size_there == size == first + 2 * length + 32 or first < 64 or length < 44:
            raise Damage(f"{key}: is {size} bytes long, its trailer tells of {size_there}")
        copies = (self.attempt(self.content, Frame(key, -1, kind | 0x80, at, length, length - 16, 2**32 - 1, 0, head[28:], 28, b"")) for at in (first, first + length))
        table = next(filter(None, list(copies) if thorough else copies), None)
        if not table: raise Damage(f"{key}: neither of its contents tables opens")
        version, _, worker, session, f, c = struct.unpack_from("<BBH16sII", table)
        salts = (struct.unpack_from("<I", table, 28)[0] - 28) // 36 if f else 0
        if version != 1 or not 1 <= salts <= 255 or len(table) != 28 + 20 * f + 36 * c: raise Damage(f"{key}: its contents table contradicts itself")
        right = b"BIQP" + struct.pack("<BBH16sBxxx", 1, kind, worker, session, salts)
        if head[:28] != right: self.mended(key, head[:28], 0, {i: b for i, b in enumerate(right) if b != head[i]}, "head")
        rows, chunks, frames, position = self.read(key, 28, 36 * salts), struct.iter_unpack("<32sI", table[28 + 20 * f:]), [], 28 + 36 * salts
        for offset, stored, plain, counter, codec, row, count in struct.iter_unpack("<IIIIBBH", table[28:28 + 20 * f]):
            cuts, at = [], 0
            for chunk, piece in itertools.islice(chunks, count):
                cuts.append(struct.pack("<16sII", chunk[:16], at, piece))
                at += piece
            if at != plain or offset != position or row >= salts: raise Damage(f"{key}: its contents table contradicts itself at frame {len(frames)}")
            frames.append(Frame(key, len(frames), kind, offset, stored, plain, counter, codec, rows[36 * row:36 * row + 36], 28 + 36 * row, b"".join(cuts)))
            position += stored
        if position != first: raise Damage(f"{key}: its frames end at byte {position}, its tables begin at {first}")
        return frames
    def indexed(self):
        """The frames of each pack as the index has them."""
        if self.by_index is None:
            self.by_index = {}
            for name in self.list("i"): self.attempt(self.read_segment, name)
            self.by_index = {pack: [f._replace(number=i) for i, (_, f) in enumerate(sorted(frames.items()))] for pack, frames in self.by_index.items()}
        return self.by_index
    def read_segment(self, name):
        _, data = self.opened(name)
        p, s, f, t, e = struct.unpack_from("<4IQ", data, 32) if len(data) >= 56 else (0,) * 5
        salts, frames, entries = 56 + 48 * p, 56 + 48 * p + 36 * s, 56 + 48 * p + 36 * s + 24 * f + 32 * t
        packs, cuts = list(struct.iter_unpack("<32sQBBxxI", data[56:salts])), collections.defaultdict(list)
        if data[:5] != b"BIQX\1" or len(data) != entries + 28 * e or any(kind not in (1, 2) or first + n > s for _, _, kind, n, first in packs):
            raise Damage(f"{name}: its tables contradict each other")
        for prefix, frame, at, length in struct.iter_unpack("<16sIII", data[entries:]):
            cuts[frame].append((at, struct.pack("<16sII", prefix, at, length)))
        for number, (at, stored, plain, counter, codec, row, _, pack) in enumerate(struct.iter_unpack("<IIIIBBHI", data[frames:frames + 24 * f])):
            if pack >= p or row >= packs[pack][3]: raise Damage(f"{name}: its frame {number} contradicts its tables")
            (pack, _, kind, _, first), pieces = packs[pack], b"".join(cut for _, cut in sorted(cuts[number]))
            key, start = f"{' dm'[kind]}/{pack[:1].hex()}/{pack.hex()}", salts + 36 * (first + row)
            self.by_index.setdefault(key, {})[at] = Frame(key, 0, kind, at, stored, plain, counter, codec, data[start:start + 36], 28 + 36 * row, pieces)
    def content(self, frame):
        """The plain bytes of a frame or contents table."""
        what = f"frame {frame.number}" if frame.number >= 0 else "contents table"
        if not (16 <= frame.stored <= frame.plain + 16 and (frame.number < 0 or 0 < frame.plain <= 4 * MIB)):
            raise Damage(f"{frame.pack}: {what} claims {frame.plain} bytes of content")
        data, associated = self.read(frame.pack, frame.offset, frame.stored), self.id + struct.pack("<BIB", frame.kind, frame.plain, frame.codec)
        if len(data) < frame.stored:
            raise Damage(f"{frame.pack}: {what} (bytes {frame.offset} to {frame.offset + frame.stored - 1}) is cut off at {frame.offset + len(data)}")
        key = lambda row: self.sealing_key({"d": "data", "m": "metadata"}[frame.pack[0]], *struct.unpack_from("<HB", row), row[4:])
        plain, self.rows[frame.row] = self.unseal(frame.pack, what, self.rows.get(frame.row, frame.row), frame.row_at, key, lambda row: associated, frame.counter,
                                                  data, frame.offset, frame.row not in self.rows)
        try: return decompress(frame.codec, plain, frame.plain)
        except CORRUPT: raise Damage(f"{frame.pack}: {what} does not decompress to the {frame.plain} bytes that it claims")
    def open_frames(self, frames):
        """For each frame {id: chunk}, with ids that are computed from the bytes; empty for one that is lost."""
        plains, contents = [self.attempt(self.content, frame) for frame in frames], [{} for _ in frames]
        pieces = [(i, plain[at:at + length]) for i, plain in enumerate(plains) if plain for _, at, length in struct.iter_unpack("<16sII", frames[i].cuts)]
        for (i, piece), name in zip(pieces, blake3([piece for _, piece in pieces], self.id_keys[frames[0].pack[0]])): contents[i][name] = piece
        for frame, plain, content in zip(frames, plains, contents):
            if plain and not {prefix for prefix, _, _ in struct.iter_unpack("<16sII", frame.cuts)} <= {name[:16] for name in content}:
                self.found(f"{frame.pack}: frame {frame.number} holds chunks other than those listed")
        return contents
    def chunk(self, name, folder, length=None):
        """A chunk of data (d) or metadata (m). Frames are opened ahead as long as they are wanted in order."""
        for frame in self.places.get(name[:16], ()):
            if frame.pack[0] == folder and frame[:2] not in self.cache:
                self.check_name(frame.pack)
                self.ahead = min(16, 2 * self.ahead) if self.last == (frame.pack, frame.number - 1) else 1
                frames = self.packs[frame.pack][frame.number:frame.number + self.ahead]
                self.last = frames[-1][:2]
                self.cache.update(zip((f[:2] for f in frames), self.open_frames(frames)))
                while len(self.cache) > 64: self.cache.popitem(last=False)
            found = self.cache.get(frame[:2], {}).get(name)
            if frame.pack[0] == folder and found is not None and length in (None, len(found)): return found
        raise Damage(f"chunk {name.hex()} is lost")
    def snapshots(self):
        """(time, id, head) of those that can be read, oldest first; before them what is not whole or not wanted any more, with a `state`."""
        found, other = [], set(self.list("l")) | set(self.list("a"))
        for name in (n for n in [*self.list("s"), *self.list("sp")] if re.fullmatch(r"s/[0-9a-f]{32}|sp/[0-9a-f]{32}\.\d+", n)):
            kind, content = self.attempt(self.opened, name) or (0, b"")
            try:
                if kind not in (7, 9): continue  # a fence is no snapshot
                head, fenced = strict_json(content), f"l/{name[2:]}.fence" in other and f"a/{name[2:]}/confirmed" not in other
                head["state"] = "partial" if kind == 9 else "fenced" if fenced else "forgotten" if self.forgotten(name[2:]) else ""
                found.append((datetime.datetime.fromisoformat(head["time"]).timestamp() - bool(head["state"]) * 1e12, name.removeprefix("s/"), head))
            except (ValueError, LookupError, TypeError, RecursionError) as error: self.found(f"{name}: is no snapshot: {error}")
        return sorted(found, key=lambda item: item[:2])
    def forgotten(self, name):
        notes = [(key.split("/")[2].split(".")[0], strict_json((self.attempt(self.opened, key) or (0, b""))[1] or "{}")) for f in "fa" for key in self.list(f"{f}/{name}")]
        undone = {i for _, note in notes if note.get("kind") == "undelete" for i in note["withdraws"]}
        return any(note.get("kind") == "forget" and i not in undone for i, note in notes)
    def directory(self, name, part=False):
        """The nodes of a directory, by the name of its tree."""
        try:
            tree, before = Cursor(self.chunk(name, "m") if name else b"\1\0\0"), b""
            version, kind, count = *tree.take(2), tree.varint()
            if version != 1 or kind > (0 if part else 1): raise ValueError(f"version {version}, kind {kind}")
            for _ in range(count):
                for node in [read_node(tree.block())] if kind == 0 else self.directory((tree.block(), tree.take(32), tree.varint())[1], True):
                    if node.name <= before: raise ValueError("its names are not in order")
                    before = node.name
                    yield node
        except ValueError as error: raise Damage(f"tree {name.hex()}: {error}")
    def pieces(self, node):
        """What a file's data consist of: (offset, bytes) or (offset, (id, length, first byte of it, bytes of it)); the rest is holes."""
        stream = Cursor(node.data)
        kind = stream.take(1)[0] if node.data else 0
        if kind == 1: yield 0, stream.read()
        if kind == 5: yield from self.paged(node, 1 << stream.take(1)[0], chunk_list(stream))
        if kind in (0, 1, 5): return
        stream.take(1)  # the profile is of no use to a reader
        extents = [(stream.varint(), stream.varint()) for _ in range(stream.varint())] if kind in (3, 4) else []
        lists = [Cursor(self.chunk(name, "m", length)) for name, length in chunk_list(stream)] if kind == 4 else [stream]
        extents, at, left = iter(extents if extents or kind == 3 else [(0, node.size)]), 0, 0
        for name, length in itertools.chain.from_iterable(map(chunk_list, lists)):
            at, left = (at, left) if left else [sum(x) for x in zip((at, 0), next(extents, (0, 0)))]
            if kind > 4 or length > left or at + length > node.size: raise ValueError("its chunks do not fill its extents")
            yield at, (name, length, 0, length)
            at, left = at + length, left - length
        if left or next(extents, None): raise ValueError("its chunks end too early")
    def paged(self, node, size, blocks, at=0):
        """The same of a page map. The digests, which prove that nobody took a changed page for an old one, are left to BackupIQ."""
        for name, length in blocks:
            block, end = Cursor(self.chunk(name, "m", length)), min(node.size, at + 4096 * size)
            chunks, _, _ = chunk_list(block), block.varint(), block.take(32)
            while at < end:
                run = block.varint()
                if run & 1: yield at, (*chunks[block.varint()], block.varint() * size, min((run >> 1) * size, end - at))
                if run < 2: raise ValueError("its page map has a run of no page")
                at = min(at + (run >> 1) * size, end)
        if at < node.size: raise ValueError("its page map ends too early")
class Cursor(io.BytesIO):  # bytes read one field after the other
    def take(self, count):
        if count > len(self.getbuffer()) - self.tell(): raise ValueError("it ends too early")
        return self.read(count)
    def varint(self):
        value = 0
        for shift in range(0, 70, 7):
            value |= ((byte := self.take(1)[0]) & 127) << shift
            if byte < 128 and value < 1 << 64: return value
        raise ValueError("a number is too long")
    def block(self): return self.take(self.varint())
def chunk_list(cursor): return [(cursor.take(32), cursor.varint()) for _ in range(cursor.varint())]
FILE, DIRECTORY, SYMLINK = 1, 2, 3
TYPES = {FILE: stat.S_IFREG, DIRECTORY: stat.S_IFDIR, SYMLINK: stat.S_IFLNK, 4: stat.S_IFBLK, 5: stat.S_IFCHR, 6: stat.S_IFIFO, 7: stat.S_IFSOCK}
def read_node(data):
    fields, cursor = collections.defaultdict(list), Cursor(data)
    while tag := cursor.read(1): fields[tag[0]].append(Cursor(cursor.block()))
    number = lambda tag: fields[tag][0].varint() if fields[tag] else 0
    whole = lambda tag: fields[tag][0].read() if fields[tag] else b""
    node = types.SimpleNamespace(name=whole(1), type=number(2), mode=number(3) & 0o7777, uid=number(4), gid=number(5), size=number(9), target=whole(11),
                                 attributes=[(x.block(), x.read()) for x in fields[12]], group=whole(13), tree=whole(15))
    if node.name in (b"", b".", b"..") or b"/" in node.name or b"\0" in node.name or node.type not in TYPES:
        raise ValueError(f"an entry '{shown(node.name)}' of type {node.type} is refused")
    seconds, nanoseconds = (fields[8][0].varint(), fields[8][0].varint()) if fields[8] else (0, 0)
    node.time = (seconds >> 1 ^ -(seconds & 1)) * 10**9 + nanoseconds
    node.device = os.makedev(fields[10][0].varint() & 0xFFFFFFFF, fields[10][0].varint() & 0xFFFFFFFF) if fields[10] else 0
    node.data = next((stream.read() for stream in fields[14] if stream.block() == b""), b"")
    return node
class Restore:
    """Writes a tree below a folder, through directory descriptors (no path is too long) and never through a link."""
    def __init__(self, repository, target):
        self.repository, self.links, self.counts = repository, {}, collections.Counter()
        os.makedirs(target, mode=0o700, exist_ok=True)
        self.top = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        if os.listdir(self.top): raise Failure(1, f"{target} is not empty: name a new or empty folder")
    def tell(self, what, path, error):
        self.counts[what] += 1
        say(f"{what} {shown(path)}: {getattr(error, 'strerror', error)}")
    def folder(self, nodes, path, here):
        """Everything below a directory that is open as `here`; one descriptor a level."""
        try:
            for node in nodes:
                below = path + b"/" + node.name
                self.counts["entries"] += 1
                if self.counts["entries"] % 10_000 == 0: say(f"{self.counts['entries']} entries, {self.counts['bytes'] // MIB} MiB restored")
                try:
                    if node.type == DIRECTORY:
                        os.mkdir(node.name, 0o700, dir_fd=here)
                        inner = os.open(node.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
                        self.folder(self.repository.directory(node.tree), below, inner)
                        os.close(inner)
                    elif self.linked(node, here, below): continue
                    else: self.entry(node, here, below)
                    self.metadata(node.name, here, node, below)
                except (OSError, OverflowError) as error: self.tell("WARNING", below, error)
        except Damage as damage: self.tell("LOST", path + b"/", f"what else is in this folder: {damage}")
    def linked(self, node, here, path):
        """True when the node is another name of a file that is there."""
        if not node.group or self.links.setdefault(node.group, path) == path: return False
        *folders, name = self.links[node.group].split(b"/")[1:]
        at = os.dup(self.top)
        try:
            for part in folders:
                at, outer = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at), at
                os.close(outer)
            os.link(name, node.name, src_dir_fd=at, dst_dir_fd=here, follow_symlinks=False)
        finally: os.close(at)
        return True
    def entry(self, node, here, path):
        if node.type == SYMLINK: return os.symlink(node.target, node.name, dir_fd=here)
        if node.type != FILE: return os.mknod(node.name, TYPES[node.type] | 0o600, node.device, dir_fd=here)
        file = os.open(node.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=here)
        try:
            os.ftruncate(file, node.size)
            for at, piece in self.repository.pieces(node):
                try: piece = self.repository.chunk(piece[0], "d", piece[1])[piece[2]:][:piece[3]] if isinstance(piece, tuple) else piece
                except Damage as damage: piece = self.tell("LOST", path, f"bytes {at} to {at + piece[3] - 1}, zeros now: {damage}") or b""
                if os.pwrite(file, piece, at) != len(piece): raise OSError(28, os.strerror(28))
                self.counts["bytes"] += len(piece)
        except (Damage, LookupError, ValueError) as error: self.tell("LOST", path, f"its content or the rest of it: {error}")
        finally: os.close(file)
    def metadata(self, name, here, node, path):
        """Owner, attributes, mode, time: each step would undo part of a later one."""
        attribute = lambda key, value: os.setxattr(b"/proc/self/fd/%d/%s" % (here, name), key, value, follow_symlinks=False)
        steps = [(os.chown, (name, node.uid, node.gid), {"dir_fd": here, "follow_symlinks": False})] if os.geteuid() == 0 else []
        steps += [(attribute, pair, {}) for pair in node.attributes]
        steps += [(os.chmod, (name, node.mode), {"dir_fd": here})] if node.type != SYMLINK else []
        for step, arguments, options in steps + [(os.utime, (name,), {"ns": (node.time, node.time), "dir_fd": here, "follow_symlinks": False})]:
            try: step(*arguments, **options)
            except (OSError, OverflowError) as error: self.tell("WARNING", path, error)
def verify(repository):
    """Everything: each object, frame and chunk, and whether every snapshot has what it names."""
    good, seen = repository.load(thorough=True), {}
    for key, frames in repository.indexed().items():
        if key not in repository.packs: repository.found(f"{key}: is missing, the index names it")
        elif {f[2:8] + f[10:] for f in frames} != {f[2:8] + f[10:] for f in repository.packs[key]}:
            repository.found(f"{key}: the index tells otherwise of it than its contents table")
    for key in itertools.chain.from_iterable(map(repository.list, "lagfp")): repository.attempt(repository.opened, key)
    def losses(tree, name=b""):
        """What below a tree is lost: [(path, why)]."""
        if tree in seen: return seen[tree]
        seen[tree] = lost = []
        try:
            for node in repository.directory(tree):
                name = node.name
                lost += [(b"/" + name + path, why) for path, why in (losses(node.tree) if node.tree else ())]
                missing = [f"bytes {at} to {at + piece[3] - 1}" for at, piece in repository.pieces(node) if isinstance(piece, tuple) and piece[0] not in good]
                lost += [(b"/" + name, f"its content is lost: {', '.join(missing)}")] if missing else []
        except (Damage, LookupError, ValueError) as error: lost.append((b"/" + name, f"this entry or what follows it: {error}"))
        return lost
    snapshots = repository.snapshots()
    for _, name, head in snapshots:
        for path, why in losses(bytes.fromhex(head["tree"])): repository.found(f"snapshot {name[:11]}: {shown(path)}: {why}")
    say(f"{len(repository.packs)} packs, {len(good)} chunks, {len(snapshots)} snapshots read; {len(repository.told)} findings")

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", metavar="REPO")
    parser.add_argument("command", choices=("list", "restore", "verify"))
    parser.add_argument("words", nargs="*", metavar="SNAPSHOT[:/PATH] TARGET")
    for option in ("--password-file", "--key-file", "--recovery-kit"): parser.add_argument(option, metavar="F")
    parser.add_argument("--index", action="store_true", help="find chunks by the index (quicker with many packs), not by the packs' own tables")
    options = parser.parse_intermixed_args()
    if len(options.words) != (2 if options.command == "restore" else 0): parser.error("restore takes a snapshot and a target, list and verify take nothing")
    sys.setrecursionlimit(50_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)  # one descriptor for each level of folders
    secret = lambda name: open(name, "rb").read(262_144) if name else b""
    password = secret(options.password_file) if any((options.password_file, options.key_file, options.recovery_kit)) else getpass.getpass().encode()
    repository = Repository(options.repository, password.removesuffix(b"\n").removesuffix(b"\r"), secret(options.key_file),
                            secret(options.recovery_kit).decode("utf-8", "replace"))
    if options.command == "verify": verify(repository)
    snapshots = repository.snapshots()
    for _, name, head in snapshots if options.command == "list" else ():
        host, kind, paths = head.get("hostname", ""), head["state"] or head.get("type", ""), " ".join(head.get("paths", []))
        print(shown(f"{name[:8] if '/' not in name else name}  {head['time'][:19]}  {host}  {kind}  {paths}".encode("utf-8", "replace")))
    if options.command != "restore": return 14 if repository.told else 0
    wanted, _, inside = options.words[0].partition(":")
    fits = [s for s in snapshots if not s[2]["state"]][-1:] if wanted == "latest" else [s for s in snapshots if len(wanted) >= 4 and s[1].startswith(wanted)]
    if len(fits) != 1: raise Failure(1, f"{len(fits)} snapshots are called '{wanted}'; `list` shows them all")
    restore, root = Restore(repository, options.words[1]), types.SimpleNamespace(tree=bytes.fromhex(fits[0][2]["tree"]), type=DIRECTORY)
    repository.load(options.index)
    way = [part for part in os.fsencode(inside).split(b"/") if part]
    for part in way:
        root = next((node for node in repository.directory(root.tree) if node.name == part), None)
        if root is None: raise Failure(1, f"there is no {inside} in snapshot {wanted}")
    restore.folder(repository.directory(root.tree) if root.type == DIRECTORY else [root], b"", restore.top)
    if way and root.type == DIRECTORY: restore.metadata(b".", restore.top, root, b"/")
    say(f"{restore.counts['entries']} entries, {restore.counts['bytes']} bytes restored; {restore.counts['LOST']} losses, {restore.counts['WARNING']} warnings, "
        f"{len(repository.told)} findings of damage{'' if os.geteuid() == 0 else '; owners are left to root'}")
    return 14 if repository.told or restore.counts["LOST"] else 3 if restore.counts["WARNING"] else 0
if __name__ == "__main__":
    try: sys.exit(main())
    except Failure as failure: sys.exit(say(f"restore.py: {failure.args[1]}") or failure.args[0])
    except (OSError, KeyboardInterrupt) as error: sys.exit(f"restore.py: {error or 'interrupted'}")
    except (Damage, ArithmeticError, LookupError, RecursionError, TypeError, ValueError, struct.error) as error:
        sys.exit(say(f"restore.py: something in this repository contradicts its format: {error!r}") or 14)
