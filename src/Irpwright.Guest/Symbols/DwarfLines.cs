using Irpwright.Guest.Images;

namespace Irpwright.Guest.Symbols;

/// <summary>
/// Reads the line number programs of section .debug_line, DWARF 2 to 5, as gcc and clang write them for MinGW targets. Names of
/// functions come from the COFF symbol table, which is there whenever DWARF is.
/// </summary>
/// <remarks>DWARF Debugging Information Format, version 5, section 6.2.</remarks>
static class DwarfLines
{
    const int MaxRows = 1 << 22;
    // What a directory or file entry consists of (DW_LNCT_) and how it is written (DW_FORM_).
    const ulong ContentPath = 1, ContentDirectory = 2;
    const ulong FormBlock2 = 0x03, FormBlock4 = 0x04, FormData2 = 0x05, FormData4 = 0x06, FormData8 = 0x07, FormString = 0x08, FormBlock = 0x09,
        FormData1 = 0x0B, FormStrp = 0x0E, FormUdata = 0x0F, FormData16 = 0x1E, FormLineStrp = 0x1F;

    public static LineTable Read(PortableExecutable image)
    {
        var rows = new List<LineTable.Row>();
        var cursor = new ByteCursor(SectionOf(image, ".debug_line"));
        while (!cursor.AtEnd && rows.Count < MaxRows)
        {
            ulong length = cursor.U32();
            bool is64Bit = length == uint.MaxValue;
            if (is64Bit) length = cursor.U64();
            if (length > (ulong)cursor.Left) break;
            new Unit(image, is64Bit, rows).Read(cursor.Take(length));
        }
        return new LineTable(rows);
    }

    static ReadOnlySpan<byte> SectionOf(PortableExecutable image, string name)
    {
        ImageSection? section = image.Sections.FirstOrDefault(s => s.Name == name);
        return section is not null && image.Contents.Span.TrySlice(section.VirtualAddress, section.VirtualSize, out ReadOnlySpan<byte> bytes) ? bytes : default;
    }

    /// <summary>The line program of one compilation unit.</summary>
    sealed class Unit(PortableExecutable image, bool is64Bit, List<LineTable.Row> rows)
    {
        readonly List<string> files = [];
        int minimumInstructionLength, lineBase, lineRange, opcodeBase;
        byte[] operandCounts = [];
        // The state machine.
        ulong address, file;
        long line;

        public void Read(ReadOnlySpan<byte> unit)
        {
            var cursor = new ByteCursor(unit);
            int version = cursor.U16();
            if (version is < 2 or > 5) return;
            if (version >= 5) cursor.Take(2); // address_size, segment_selector_size
            ulong headerLength = is64Bit ? cursor.U64() : cursor.U32();
            if (headerLength > (ulong)cursor.Left) return;
            var header = new ByteCursor(cursor.Take(headerLength));
            minimumInstructionLength = header.U8();
            if (version >= 4) header.U8(); // maximum_operations_per_instruction: 1 on x64
            header.U8();                   // default_is_stmt
            lineBase = (sbyte)header.U8();
            lineRange = header.U8();
            opcodeBase = header.U8();
            if (lineRange == 0 || opcodeBase == 0) return;
            operandCounts = header.Take((ulong)opcodeBase - 1).ToArray();
            if (operandCounts.Length != opcodeBase - 1) return;
            if (version >= 5) ReadEntries(ref header);
            else ReadOldTables(ref header);
            Run(ref cursor, firstFile: 1);
        }

        /// <summary>Directories, then files with the index of a directory; both count from 1, and 0 is the unit's own directory.</summary>
        void ReadOldTables(ref ByteCursor header)
        {
            List<string> directories = [""];
            while (header.Text() is { Length: > 0 } directory) directories.Add(directory);
            files.Add("");
            while (header.Text() is { Length: > 0 } name)
            {
                ulong directory = header.Leb128();
                header.Leb128(); // time of change
                header.Leb128(); // length
                files.Add(Combine(directories, directory, name));
            }
        }

        void ReadEntries(ref ByteCursor header)
        {
            List<string> directories = [.. ReadTable(ref header).Select(entry => entry.Path)];
            files.AddRange(ReadTable(ref header).Select(entry => Combine(directories, entry.Directory, entry.Path)));
        }

        List<(string Path, ulong Directory)> ReadTable(ref ByteCursor header)
        {
            var formats = new List<(ulong Content, ulong Form)>();
            for (int count = header.U8(); count > 0; count--) formats.Add((header.Leb128(), header.Leb128()));
            var entries = new List<(string Path, ulong Directory)>();
            for (ulong count = header.Leb128(); count > 0 && !header.AtEnd; count--)
            {
                (string Path, ulong Directory) entry = ("", 0);
                foreach ((ulong content, ulong form) in formats)
                {
                    (string text, ulong number) = ReadForm(ref header, form);
                    if (content == ContentPath) entry.Path = text;
                    else if (content == ContentDirectory) entry.Directory = number;
                }
                entries.Add(entry);
            }
            return entries;
        }

        (string Text, ulong Number) ReadForm(ref ByteCursor header, ulong form)
        {
            switch (form)
            {
                case FormString: return (header.Text(), 0);
                case FormLineStrp: return (TextAt(".debug_line_str", is64Bit ? header.U64() : header.U32()), 0);
                case FormStrp: return (TextAt(".debug_str", is64Bit ? header.U64() : header.U32()), 0);
                case FormUdata: return ("", header.Leb128());
                case FormData1: return ("", header.U8());
                case FormData2: return ("", header.U16());
                case FormData4: return ("", header.U32());
                case FormData8: return ("", header.U64());
                case FormData16: header.Take(16); break;
                case FormBlock: header.Take(header.Leb128()); break;
                case FormBlock2: header.Take(header.U16()); break;
                case FormBlock4: header.Take(header.U32()); break;
                default: header.Take(ulong.MaxValue); break; // of unknown length: nothing behind it can be read
            }
            return ("", 0);
        }

        string TextAt(string section, ulong offset)
        {
            ReadOnlySpan<byte> texts = SectionOf(image, section);
            return offset < (ulong)texts.Length ? new ByteCursor(texts[(int)offset..]).Text() : "";
        }

        static string Combine(List<string> directories, ulong directory, string name)
        {
            string folder = directory < (ulong)directories.Count ? directories[(int)directory] : "";
            return folder.Length == 0 || name.StartsWith('/') || name.Contains(':', StringComparison.Ordinal) ? name : $"{folder}/{name}";
        }

        void Run(ref ByteCursor program, ulong firstFile)
        {
            Reset(firstFile);
            while (!program.AtEnd && rows.Count < MaxRows)
            {
                byte opcode = program.U8();
                if (opcode >= opcodeBase)
                {
                    int adjusted = opcode - opcodeBase;
                    address += (ulong)(adjusted / lineRange * minimumInstructionLength);
                    line += lineBase + adjusted % lineRange;
                    Emit();
                    continue;
                }
                switch (opcode)
                {
                    case 0: // an extended opcode: length, code, operands
                        var extended = new ByteCursor(program.Take(program.Leb128()));
                        byte code = extended.U8();
                        if (code == 1)
                        {
                            EmitEnd();
                            Reset(firstFile);
                        }
                        else if (code == 2)
                        {
                            address = extended.U64();
                        }
                        break;
                    case 1: Emit(); break;                                                                   // copy
                    case 2: address += program.Leb128() * (ulong)minimumInstructionLength; break;            // advance_pc
                    case 3: line += program.SignedLeb128(); break;                                           // advance_line
                    case 4: file = program.Leb128(); break;                                                  // set_file
                    case 8: address += (ulong)((255 - opcodeBase) / lineRange * minimumInstructionLength); break; // const_add_pc
                    case 9: address += program.U16(); break;                                                 // fixed_advance_pc
                    default: // columns, statement marks and what a later version adds: skip the operands
                        for (int operands = operandCounts[opcode - 1]; operands > 0; operands--) program.Leb128();
                        break;
                }
            }
        }

        void Reset(ulong firstFile)
        {
            address = 0;
            file = firstFile;
            line = 1;
        }

        void Emit()
        {
            // Functions that the linker dropped stay in the program with an address outside the image.
            ulong rva = address - image.ImageBase;
            // Line 0 is code that no line stands for.
            if (rva < image.SizeOfImage && line is >= 0 and <= int.MaxValue)
                rows.Add(new LineTable.Row((uint)rva, file < (ulong)files.Count ? files[(int)file] : "", (int)line));
        }

        void EmitEnd()
        {
            ulong rva = address - image.ImageBase;
            if (rva <= image.SizeOfImage) rows.Add(new LineTable.Row((uint)rva, "", 0));
        }
    }
}
