using System.Buffers.Binary;
using System.Text;
using Iced.Intel;

namespace Irpwright.Guest.Tests.Images;

/// <summary>
/// Writes PE32+ images byte by byte, with the offsets of the PE specification and nothing of the reader, and wrong where a test wants it.
/// </summary>
sealed class ImageBuilder
{
    public const uint Code = 0x6000_0020, ReadOnlyData = 0x4000_0040, Data = 0xC000_0040, Discardable = 0x0200_0000;
    public const int PeOffset = 0x80, FileHeader = PeOffset + 4, OptionalHeader = FileHeader + 20, Directories = OptionalHeader + 112;
    public const int SectionTable = Directories + 16 * 8, SectionHeaderSize = 40;

    readonly List<(string Name, uint Rva, uint VirtualSize, byte[] Bytes, uint Characteristics)> sections = [];
    readonly (uint Rva, uint Size)[] directories = new (uint, uint)[16];
    readonly List<(string Name, uint Rva, bool IsFunction)> symbols = [];
    readonly Dictionary<string, uint> slots = [];

    public ulong ImageBase { get; init; } = 0x1_4000_0000;
    public uint SectionAlignment { get; init; } = 0x1000;
    public uint FileAlignment { get; init; } = 0x200;
    public uint EntryPoint { get; set; } = 0x1000;

    uint HeaderSize => Align(0x400, FileAlignment);

    /// <summary>RVA of the next section to be added.</summary>
    public uint NextRva => sections.Count == 0
        ? Align(HeaderSize, SectionAlignment)
        : Align(sections[^1].Rva + sections[^1].VirtualSize, SectionAlignment);

    public int SectionHeaderOf(string name) => SectionTable + SectionHeaderSize * sections.FindIndex(section => section.Name == name);

    public uint RvaOf(string name) => sections.First(section => section.Name == name).Rva;

    /// <summary>
    /// A small driver: code, read-only data with a load configuration, data with a cookie and relocated pointers, imports, INIT and PAGE
    /// sections.
    /// </summary>
    public static ImageBuilder Driver(ulong imageBase = 0x1_4000_0000)
    {
        var builder = new ImageBuilder { ImageBase = imageBase };
        return builder
            .Section(".text", Code, [.. Enumerable.Repeat((byte)0x90, 0x2F), 0xC3])
            .LoadConfig(cookieRva: 0x3000)
            .Section(".data", Data, Quadwords(0x2B99_2DDF_A232, imageBase + 0x1010, imageBase + 0x3008), virtualSize: 0x1800)
            .Imports(("ntoskrnl.exe", ["IoCreateDevice", "IofCompleteRequest", "#7"]), ("HAL.dll", ["KeStallExecutionProcessor"]))
            .Section("PAGEcode", Code, [0xC3])
            .Section("INIT", Code | Discardable, [0xC3])
            .Relocations(0x2058, 0x3008, 0x3010);
    }

    public static byte[] Quadwords(params ulong[] values)
    {
        byte[] bytes = new byte[values.Length * 8];
        for (int i = 0; i < values.Length; i++) BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(i * 8), values[i]);
        return bytes;
    }

    public static byte[] Doublewords(params uint[] values)
    {
        byte[] bytes = new byte[values.Length * 4];
        for (int i = 0; i < values.Length; i++) BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(i * 4), values[i]);
        return bytes;
    }

    public ImageBuilder Section(string name, uint characteristics, byte[] bytes, uint virtualSize = 0)
    {
        sections.Add((name, NextRva, virtualSize == 0 ? (uint)bytes.Length : virtualSize, bytes, characteristics));
        return this;
    }

    /// <summary>A section of assembled code that runs where it is placed; the image enters its first one.</summary>
    public ImageBuilder Assemble(string name, Action<Assembler> write, uint characteristics = Code)
    {
        var assembler = new Assembler(64);
        write(assembler);
        using var bytes = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(bytes), ImageBase + NextRva);
        if (!sections.Exists(section => (section.Characteristics & Code) == Code)) EntryPoint = NextRva;
        return Section(name, characteristics, bytes.ToArray());
    }

    public ImageBuilder EnterAt(uint rva)
    {
        EntryPoint = rva;
        return this;
    }

    /// <summary>The RVA of the slot of an import that was declared before.</summary>
    public uint SlotOf(string import) => slots[import];

    /// <summary>Assembles a call through the slot of an import.</summary>
    public void Call(Assembler assembler, string import) => Call(assembler, slots[import]);

    /// <summary>Assembles a call through the pointer at an RVA.</summary>
    public void Call(Assembler assembler, uint pointerRva) =>
        assembler.AddInstruction(Instruction.Create(Iced.Intel.Code.Call_rm64, At(pointerRva)));

    /// <summary>Assembles a jump through the slot of an import.</summary>
    public void Jump(Assembler assembler, string import) =>
        assembler.AddInstruction(Instruction.Create(Iced.Intel.Code.Jmp_rm64, At(slots[import])));

    /// <summary>Assembles a load of the 8 bytes at an RVA.</summary>
    public void Load(Assembler assembler, AssemblerRegister64 register, uint rva) =>
        assembler.AddInstruction(Instruction.Create(Iced.Intel.Code.Mov_r64_rm64, register, At(rva)));

    /// <summary>Assembles a store to the 8 bytes at an RVA.</summary>
    public void Store(Assembler assembler, uint rva, AssemblerRegister64 register) =>
        assembler.AddInstruction(Instruction.Create(Iced.Intel.Code.Mov_rm64_r64, At(rva), register));

    /// <summary>Assembles the addition of a number to the doubleword at an RVA.</summary>
    public void AddTo(Assembler assembler, uint rva, int number) =>
        assembler.AddInstruction(Instruction.Create(Iced.Intel.Code.Add_rm32_imm32, At(rva), number));

    MemoryOperand At(uint rva) => new(Register.RIP, (long)(ImageBase + rva));

    public ImageBuilder Directory(int index, uint rva, uint size)
    {
        directories[index] = (rva, size);
        return this;
    }

    /// <summary>
    /// A section .rdata with a load configuration that names the pointers of control flow guard, which lie at its end: check, dispatch.
    /// </summary>
    /// <param name="targets">
    /// Offsets in the section that follows, of routines that may be called through pointers; none for an image without such a table.
    /// </param>
    public ImageBuilder GuardPointers(out uint checkRva, params uint[] targets)
    {
        const uint sectionSize = 0x1000, flags = 0x1000_0500; // instrumented, with a table in which a byte follows each RVA
        checkRva = NextRva + 0x98;
        byte[] structure = new byte[0x98 + 16 + 5 * targets.Length];
        for (int i = 0; i < targets.Length; i++) BinaryPrimitives.WriteUInt32LittleEndian(structure.AsSpan(0xA8 + 5 * i), NextRva + sectionSize + targets[i]);
        if (targets.Length > 0)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(structure.AsSpan(0x80), ImageBase + NextRva + 0xA8);
            BinaryPrimitives.WriteUInt64LittleEndian(structure.AsSpan(0x88), (ulong)targets.Length);
            BinaryPrimitives.WriteUInt32LittleEndian(structure.AsSpan(0x90), flags);
        }
        BinaryPrimitives.WriteUInt32LittleEndian(structure, 0x94);
        BinaryPrimitives.WriteUInt64LittleEndian(structure.AsSpan(0x70), ImageBase + checkRva);
        BinaryPrimitives.WriteUInt64LittleEndian(structure.AsSpan(0x78), ImageBase + checkRva + 8);
        uint rva = NextRva;
        return Section(".rdata", ReadOnlyData, structure).Directory(10, rva, 0x94);
    }

    /// <summary>A section .didat with one delay-load descriptor; each slot leads to <paramref name="helperRva"/> as linked.</summary>
    public ImageBuilder DelayImports(string module, uint helperRva, params string[] names)
    {
        uint rva = NextRva;
        int slotsAt = 2 * 32, lookupAt = slotsAt + (names.Length + 1) * 8, textAt = lookupAt + (names.Length + 1) * 8;
        using var text = new MemoryStream();
        byte[] tables = new byte[textAt];
        Doublewords(1, rva + (uint)textAt, 0, rva + (uint)slotsAt, rva + (uint)lookupAt).CopyTo(tables, 0);
        text.Write(Encoding.ASCII.GetBytes(module + "\0"));
        for (int i = 0; i < names.Length; i++)
        {
            Quadwords(rva + (ulong)(textAt + text.Length)).CopyTo(tables, lookupAt + i * 8);
            Quadwords(ImageBase + helperRva).CopyTo(tables, slotsAt + i * 8);
            slots[names[i]] = rva + (uint)(slotsAt + i * 8);
            text.Write(Encoding.ASCII.GetBytes("\0\0" + names[i] + "\0"));
        }
        return Section(".didat", Data, [.. tables, .. text.ToArray()]).Directory(13, rva, 64);
    }

    /// <summary>A section .rdata with a load configuration structure of 0x94 bytes.</summary>
    public ImageBuilder LoadConfig(uint cookieRva)
    {
        byte[] structure = new byte[0x98];
        BinaryPrimitives.WriteUInt32LittleEndian(structure, 0x94);
        BinaryPrimitives.WriteUInt64LittleEndian(structure.AsSpan(0x58), ImageBase + cookieRva);
        uint rva = NextRva;
        return Section(".rdata", ReadOnlyData, structure).Directory(10, rva, 0x94);
    }

    /// <summary>A section .idata: descriptors, lookup tables, address tables, names. "#7" is an import by ordinal 7.</summary>
    public ImageBuilder Imports(params (string Module, string[] Names)[] modules)
    {
        uint rva = NextRva;
        int thunks = modules.Sum(module => module.Names.Length + 1) * 8;
        int lookupAt = (modules.Length + 1) * 20, addressesAt = lookupAt + thunks, namesAt = addressesAt + thunks;
        using var bytes = new MemoryStream();
        bytes.Write(new byte[namesAt]);
        var tables = new byte[namesAt];
        for (int i = 0, thunk = 0; i < modules.Length; i++)
        {
            uint[] descriptor = [rva + (uint)(lookupAt + thunk * 8), 0, 0, rva + (uint)bytes.Length, rva + (uint)(addressesAt + thunk * 8)];
            Doublewords(descriptor).CopyTo(tables, i * 20);
            bytes.Write(Encoding.ASCII.GetBytes(modules[i].Module + "\0"));
            foreach (string name in modules[i].Names)
            {
                ulong entry = rva + (ulong)bytes.Length;
                if (name[0] == '#') entry = 1UL << 63 | ulong.Parse(name[1..]);
                else bytes.Write(Encoding.ASCII.GetBytes("\0\0" + name + "\0"));
                Quadwords(entry).CopyTo(tables, lookupAt + thunk * 8);
                Quadwords(entry).CopyTo(tables, addressesAt + thunk * 8);
                slots[name] = rva + (uint)(addressesAt + thunk * 8);
                thunk++;
            }
            thunk++;
        }
        bytes.Position = 0;
        bytes.Write(tables);
        return Section(".idata", Data, bytes.ToArray()).Directory(1, rva, (uint)lookupAt);
    }

    /// <summary>A section .reloc with one block for each page and DIR64 entries.</summary>
    public ImageBuilder Relocations(params uint[] rvas)
    {
        using var bytes = new MemoryStream();
        foreach (IGrouping<uint, uint> page in rvas.GroupBy(rva => rva & ~0xFFFu))
        {
            ushort[] entries = [.. page.Select(rva => (ushort)(0xA000 | rva & 0xFFF))];
            if (entries.Length % 2 != 0) entries = [.. entries, 0];
            bytes.Write(Doublewords(page.Key, 8 + (uint)entries.Length * 2));
            foreach (ushort entry in entries) bytes.Write([(byte)entry, (byte)(entry >> 8)]);
        }
        uint rva = NextRva;
        return Section(".reloc", ReadOnlyData | Discardable, bytes.ToArray()).Directory(5, rva, (uint)bytes.Length);
    }

    /// <summary>A section .edata; a target that is text is a forwarder.</summary>
    public ImageBuilder Exports(uint ordinalBase, params (string Name, object Target)[] exports)
    {
        uint rva = NextRva;
        int functionsAt = 40, namesAt = functionsAt + exports.Length * 4, indicesAt = namesAt + exports.Length * 4;
        using var text = new MemoryStream();
        uint textRva = rva + (uint)(indicesAt + exports.Length * 2);
        uint Text(string value)
        {
            uint at = textRva + (uint)text.Length;
            text.Write(Encoding.ASCII.GetBytes(value + "\0"));
            return at;
        }
        uint Address(object target) => target is string forwarder ? Text(forwarder) : Convert.ToUInt32(target);
        uint[] functions = [.. exports.Select(export => Address(export.Target))];
        int[] named = [.. Enumerable.Range(0, exports.Length).Where(i => exports[i].Name.Length != 0)];
        uint[] names = [.. named.Select(i => Text(exports[i].Name))];
        byte[] header = Doublewords(0, 0, 0, Text("driver.sys"), ordinalBase, (uint)functions.Length, (uint)names.Length,
            rva + (uint)functionsAt, rva + (uint)namesAt, rva + (uint)indicesAt);
        byte[] bytes = new byte[indicesAt + exports.Length * 2 + text.Length];
        header.CopyTo(bytes, 0);
        Doublewords(functions).CopyTo(bytes, functionsAt);
        Doublewords(names).CopyTo(bytes, namesAt);
        for (int i = 0; i < named.Length; i++) bytes[indicesAt + i * 2] = (byte)named[i];
        text.ToArray().CopyTo(bytes, indicesAt + exports.Length * 2);
        return Section(".edata", ReadOnlyData, bytes).Directory(0, rva, (uint)bytes.Length);
    }

    /// <summary>A section .pdata with rows of begin, end and unwind information.</summary>
    public ImageBuilder Functions(params uint[] rows)
    {
        uint rva = NextRva;
        return Section(".pdata", ReadOnlyData, Doublewords(rows)).Directory(3, rva, (uint)rows.Length * 4);
    }

    /// <summary>An entry of the COFF symbol table, which is written behind the sections.</summary>
    public ImageBuilder Symbol(string name, uint rva, bool isFunction = true)
    {
        symbols.Add((name, rva, isFunction));
        return this;
    }

    public byte[] Build()
    {
        using var file = new MemoryStream();
        file.Write(new byte[HeaderSize]);
        byte[] headers = new byte[HeaderSize];
        headers[0] = (byte)'M';
        headers[1] = (byte)'Z';
        Put32(headers, 0x3C, PeOffset);
        "PE\0\0"u8.CopyTo(headers.AsSpan(PeOffset));
        Put16(headers, FileHeader, 0x8664);
        Put16(headers, FileHeader + 2, (ushort)sections.Count);
        Put16(headers, FileHeader + 16, 112 + 16 * 8);
        Put16(headers, FileHeader + 18, 0x0022);
        Put16(headers, OptionalHeader, 0x20B);
        Put32(headers, OptionalHeader + 16, EntryPoint);
        BinaryPrimitives.WriteUInt64LittleEndian(headers.AsSpan(OptionalHeader + 24), ImageBase);
        Put32(headers, OptionalHeader + 32, SectionAlignment);
        Put32(headers, OptionalHeader + 36, FileAlignment);
        Put32(headers, OptionalHeader + 56, NextRva);
        Put32(headers, OptionalHeader + 60, HeaderSize);
        Put16(headers, OptionalHeader + 68, 1);
        Put16(headers, OptionalHeader + 70, 0x0160);
        Put32(headers, OptionalHeader + 108, 16);
        for (int i = 0; i < 16; i++)
        {
            Put32(headers, Directories + i * 8, directories[i].Rva);
            Put32(headers, Directories + i * 8 + 4, directories[i].Size);
        }
        for (int i = 0; i < sections.Count; i++)
        {
            (string name, uint rva, uint virtualSize, byte[] bytes, uint characteristics) = sections[i];
            int at = SectionTable + i * SectionHeaderSize;
            Encoding.ASCII.GetBytes(name).CopyTo(headers, at);
            Put32(headers, at + 8, virtualSize);
            Put32(headers, at + 12, rva);
            Put32(headers, at + 36, characteristics);
            if (bytes.Length == 0) continue;
            // With small alignments the file is its own memory image.
            if (SectionAlignment < 0x1000) file.Write(new byte[rva - (uint)file.Length]);
            Put32(headers, at + 16, Align((uint)bytes.Length, FileAlignment));
            Put32(headers, at + 20, (uint)file.Length);
            file.Write(bytes);
            file.Write(new byte[Align((uint)bytes.Length, FileAlignment) - (uint)bytes.Length]);
        }
        if (symbols.Count != 0) WriteSymbols(file, headers);
        file.Position = 0;
        file.Write(headers);
        return file.ToArray();
    }

    void WriteSymbols(MemoryStream file, byte[] headers)
    {
        Put32(headers, FileHeader + 8, (uint)file.Length);
        Put32(headers, FileHeader + 12, (uint)symbols.Count);
        using var strings = new MemoryStream();
        foreach ((string name, uint rva, bool isFunction) in symbols)
        {
            byte[] symbol = new byte[18];
            if (name.Length <= 8)
            {
                Encoding.ASCII.GetBytes(name).CopyTo(symbol, 0);
            }
            else
            {
                Put32(symbol, 4, 4 + (uint)strings.Length);
                strings.Write(Encoding.ASCII.GetBytes(name + "\0"));
            }
            int section = sections.FindLastIndex(candidate => candidate.Rva <= rva);
            Put32(symbol, 8, rva - sections[section].Rva);
            Put16(symbol, 12, (ushort)(section + 1));
            Put16(symbol, 14, isFunction ? (ushort)0x20 : (ushort)0);
            symbol[16] = 2;
            file.Write(symbol);
        }
        file.Write(Doublewords(4 + (uint)strings.Length));
        file.Write(strings.ToArray());
    }

    public static void Put16(byte[] bytes, int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(at), value);

    public static void Put32(byte[] bytes, int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), value);

    static uint Align(uint value, uint alignment) => (value + alignment - 1) / alignment * alignment;
}
