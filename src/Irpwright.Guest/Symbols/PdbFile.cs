using System.Numerics;
using Irpwright.Guest.Images;

namespace Irpwright.Guest.Symbols;

/// <summary>Functions and source lines out of a program database, as link.exe and lld write it.</summary>
/// <remarks>
/// A file of blocks (MSF 7.00) that form streams: 1 says what the file is, 3 lists modules and sections, each module has a stream
/// with its symbols and lines. The format as described at https://llvm.org/docs/PDB/.
/// </remarks>
sealed class PdbFile
{
    const int InfoStream = 1, ModulesStream = 3;
    const int ModulesHeaderSize = 64, ModuleHeaderSize = 64;
    const int MaxStreams = 1 << 16;
    const ushort NoStream = 0xFFFF;
    const ushort SymbolGlobalProcedure = 0x1110, SymbolLocalProcedure = 0x110F, SymbolGlobalProcedureId = 0x1147, SymbolLocalProcedureId = 0x1146;
    const ushort SymbolPublic = 0x110E;
    const uint LinesSubsection = 0xF2, FileChecksumsSubsection = 0xF4;
    const uint PublicIsFunction = 2;
    const int OptionalSectionHeaders = 5;

    static ReadOnlySpan<byte> Magic => "Microsoft C/C++ MSF 7.00\r\n\x1A\u0044S\0\0\0"u8;

    readonly byte[] file;
    readonly uint blockSize;
    readonly List<uint[]> streams = [];
    readonly List<int> sizes = [];
    readonly Dictionary<uint, string> functions = [];
    readonly List<LineTable.Row> rows = [];
    uint[] sections = [];
    byte[] names = [];

    PdbFile(byte[] file, uint blockSize)
    {
        this.file = file;
        this.blockSize = blockSize;
        Lines = new LineTable([]);
    }

    /// <summary>Names with RVAs, in any order.</summary>
    public IReadOnlyList<(uint Rva, string Name)> Functions => [.. functions.Select(pair => (pair.Key, pair.Value))];

    public LineTable Lines { get; private set; }

    /// <summary>Reads the file if it belongs to the image with this signature.</summary>
    public static PdbFile? TryRead(byte[] bytes, Guid signature)
    {
        var header = new ByteCursor(bytes);
        if (!header.Take((ulong)Magic.Length).SequenceEqual(Magic)) return null;
        uint blockSize = header.U32();
        header.U32(); // which free block map is valid
        header.U32(); // number of blocks
        uint directorySize = header.U32();
        header.U32();
        uint directoryMap = header.U32();
        if (blockSize is < 512 or > 65536 || !BitOperations.IsPow2(blockSize)) return null;
        var pdb = new PdbFile(bytes, blockSize);
        return pdb.ReadDirectory(directorySize, directoryMap) && pdb.ReadInfo(signature) && pdb.ReadModules() ? pdb : null;
    }

    bool ReadDirectory(uint size, uint map)
    {
        if (size > file.Length) return false;
        var blocks = new ByteCursor(Block(map));
        var blockNumbers = new uint[BlocksOf((int)size)];
        for (int i = 0; i < blockNumbers.Length; i++) blockNumbers[i] = blocks.U32();
        var directory = new ByteCursor(Join(blockNumbers, (int)size));
        uint count = directory.U32();
        if (count > MaxStreams) return false;
        for (uint i = 0; i < count; i++)
        {
            uint streamSize = directory.U32();
            sizes.Add(streamSize > file.Length ? 0 : (int)streamSize);
        }
        foreach (int streamSize in sizes)
        {
            if (directory.Left < BlocksOf(streamSize) * 4) return false;
            var numbers = new uint[BlocksOf(streamSize)];
            for (int i = 0; i < numbers.Length; i++) numbers[i] = directory.U32();
            streams.Add(numbers);
        }
        return true;
    }

    int BlocksOf(int size) => (int)((size + blockSize - 1L) / blockSize);

    ReadOnlySpan<byte> Block(uint number) =>
        file.AsSpan() is var all && ((ReadOnlySpan<byte>)all).TrySlice((ulong)number * blockSize, blockSize, out ReadOnlySpan<byte> block) ? block : default;

    byte[] Join(uint[] blockNumbers, int size)
    {
        byte[] joined = new byte[size];
        for (int i = 0, at = 0; i < blockNumbers.Length; i++, at += (int)blockSize)
        {
            ReadOnlySpan<byte> block = Block(blockNumbers[i]);
            block[..Math.Min(block.Length, size - at)].CopyTo(joined.AsSpan(at));
        }
        return joined;
    }

    byte[] Stream(int index) => index >= 0 && index < streams.Count ? Join(streams[index], sizes[index]) : [];

    /// <summary>Checks that the file belongs to the image, and finds the stream of file names.</summary>
    bool ReadInfo(Guid signature)
    {
        var info = new ByteCursor(Stream(InfoStream));
        info.Take(12); // version, time stamp, age
        ReadOnlySpan<byte> guid = info.Take(16);
        if (guid.Length != 16 || new Guid(guid) != signature) return false;
        ReadOnlySpan<byte> texts = info.Take(info.U32());
        // A hash table from names to streams: counts, the bitmap of used buckets, that of deleted ones, then the used ones.
        info.Take(8);
        info.Take(info.U32() * 4UL);
        info.Take(info.U32() * 4UL);
        while (!info.AtEnd)
        {
            uint name = info.U32(), stream = info.U32();
            if (name < texts.Length && new ByteCursor(texts[(int)name..]).Text() == "/names") ReadNames((int)stream);
        }
        return true;
    }

    void ReadNames(int stream)
    {
        var table = new ByteCursor(Stream(stream));
        table.Take(8); // signature, version
        names = table.Take(table.U32()).ToArray();
    }

    bool ReadModules()
    {
        var all = new ByteCursor(Stream(ModulesStream));
        var header = new ByteCursor(all.Take(ModulesHeaderSize));
        if (header.Left < ModulesHeaderSize) return false;
        header.Take(20);
        ushort symbolRecords = header.U16();
        header.Take(2);
        uint modulesSize = header.U32();
        ulong between = 0;
        for (int i = 0; i < 4; i++) between += header.U32();
        header.Take(4); // index of the type server map
        uint optionalSize = header.U32(), editContinueSize = header.U32();
        var modules = new ByteCursor(all.Take(modulesSize));
        all.Take(between + editContinueSize);
        ReadSections(all.Take(optionalSize));
        while (modules.Left >= ModuleHeaderSize) ReadModule(ref modules);
        ReadPublics(symbolRecords);
        Lines = new LineTable(rows);
        return true;
    }

    void ReadSections(ReadOnlySpan<byte> optionalStreams)
    {
        var indices = new ByteCursor(optionalStreams);
        indices.Take(2 * OptionalSectionHeaders);
        var headers = new ByteCursor(Stream(indices.AtEnd ? NoStream : indices.U16()));
        var found = new List<uint>();
        const int headerSize = 40, addressAt = 12;
        while (headers.Left >= headerSize)
        {
            var header = new ByteCursor(headers.Take(headerSize));
            header.Take(addressAt);
            found.Add(header.U32());
        }
        sections = [.. found];
    }

    void ReadModule(ref ByteCursor modules)
    {
        int before = modules.Left;
        modules.Take(34);
        ushort stream = modules.U16();
        uint symbolsSize = modules.U32();
        uint oldLinesSize = modules.U32();
        uint linesSize = modules.U32();
        modules.Take(16);
        modules.Text(); // module
        modules.Text(); // object file
        modules.Take((ulong)(4 - (before - modules.Left) % 4) % 4);
        if (stream == NoStream) return;
        var content = new ByteCursor(Stream(stream));
        var symbols = new ByteCursor(content.Take(symbolsSize));
        symbols.U32(); // signature
        ReadSymbols(ref symbols);
        content.Take(oldLinesSize);
        ReadLines(content.Take(linesSize));
    }

    void ReadPublics(int stream)
    {
        if (stream == NoStream) return;
        var symbols = new ByteCursor(Stream(stream));
        ReadSymbols(ref symbols);
    }

    void ReadSymbols(ref ByteCursor symbols)
    {
        while (symbols.Left >= 4)
        {
            ushort length = symbols.U16();
            if (length < 2) return;
            var record = new ByteCursor(symbols.Take(length));
            ushort kind = record.U16();
            switch (kind)
            {
                case SymbolGlobalProcedure or SymbolLocalProcedure or SymbolGlobalProcedureId or SymbolLocalProcedureId:
                    record.Take(28); // scopes, sizes, type
                    AddFunction(record.U32(), record.U16(), ref record, flagsSize: 1);
                    break;
                case SymbolPublic when (record.U32() & PublicIsFunction) != 0:
                    AddFunction(record.U32(), record.U16(), ref record, flagsSize: 0);
                    break;
            }
        }
    }

    void AddFunction(uint offset, ushort section, ref ByteCursor record, ulong flagsSize)
    {
        record.Take(flagsSize);
        string name = record.Text();
        // Public names come last, and are decorated: the modules' own names are better.
        if (name.Length > 0 && RvaOf(section, offset) is { } rva) functions.TryAdd(rva, name);
    }

    /// <summary>Sections count from 1.</summary>
    uint? RvaOf(ushort section, uint offset) => section > 0 && section <= sections.Length ? sections[section - 1] + offset : null;

    void ReadLines(ReadOnlySpan<byte> subsections)
    {
        ReadOnlySpan<byte> checksums = Subsections(subsections, FileChecksumsSubsection).FirstOrDefault() ?? [];
        foreach (byte[] lines in Subsections(subsections, LinesSubsection)) ReadLines(lines, checksums);
    }

    static List<byte[]> Subsections(ReadOnlySpan<byte> all, uint wanted)
    {
        var found = new List<byte[]>();
        var cursor = new ByteCursor(all);
        while (cursor.Left >= 8)
        {
            uint kind = cursor.U32(), length = cursor.U32();
            ReadOnlySpan<byte> content = cursor.Take(length);
            cursor.Take((4 - length % 4) % 4);
            if (kind == wanted) found.Add(content.ToArray());
        }
        return found;
    }

    void ReadLines(byte[] subsection, ReadOnlySpan<byte> checksums)
    {
        const ushort hasColumns = 1;
        const uint lineMask = 0xFF_FFFF;
        // Lines that say "this code belongs to no line" to a debugger.
        const uint neverStepInto = 0xFE_EFEE, alwaysStepInto = 0xF0_0F00;
        var cursor = new ByteCursor(subsection);
        uint start = cursor.U32();
        ushort section = cursor.U16(), flags = cursor.U16();
        uint codeSize = cursor.U32();
        if (RvaOf(section, start) is not { } rva) return;
        while (cursor.Left >= 12)
        {
            string name = FileName(checksums, cursor.U32());
            uint count = cursor.U32(), blockSize = cursor.U32();
            if (blockSize < 12) return;
            var block = new ByteCursor(cursor.Take(blockSize - 12));
            for (; count > 0 && block.Left >= 8; count--)
            {
                uint offset = block.U32(), number = block.U32() & lineMask;
                rows.Add(new LineTable.Row(rva + offset, name, number is neverStepInto or alwaysStepInto ? 0 : (int)number));
            }
            if ((flags & hasColumns) != 0) block.Take(count * 4UL);
        }
        rows.Add(new LineTable.Row(rva + codeSize, "", 0));
    }

    string FileName(ReadOnlySpan<byte> checksums, uint entry)
    {
        var cursor = new ByteCursor(checksums);
        cursor.Take(entry);
        uint offset = cursor.U32();
        return offset < names.Length ? new ByteCursor(names.AsSpan((int)offset)).Text() : "";
    }
}
