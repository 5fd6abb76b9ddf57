using System.Collections.Immutable;
using Iced.Intel;

namespace Irpwright.Guest.Images;

/// <summary>A number in the code of an image that looks like an I/O control code, made by CTL_CODE.</summary>
/// <param name="References">RVAs of the instructions, ascending.</param>
public readonly record struct ControlCode(uint Value, ImmutableArray<uint> References)
{
    public uint DeviceType => Value >> 16;

    public uint RequiredAccess => Value >> 14 & 3;

    public uint Function => Value >> 2 & 0xFFF;

    public string Method =>
        (Value & 3) switch { 0 => "METHOD_BUFFERED", 1 => "METHOD_IN_DIRECT", 2 => "METHOD_OUT_DIRECT", _ => "METHOD_NEITHER" };
}

/// <summary>
/// Finds the control codes that a driver compares with: directly, or the way compilers translate a switch, by subtracting the first code
/// and then the distances to the others, or by a jump table.
/// </summary>
/// <remarks>A heuristic: it decodes without following control flow, and a number is not marked as a control code anywhere.</remarks>
sealed class ControlCodeScan(PortableExecutable image)
{
    /// <summary>Highest device type that Microsoft has assigned in devioctl.h and its successors, with room for some more.</summary>
    const uint LastAssignedDeviceType = 0x6F;
    const uint FirstVendorDeviceType = 0x8000, LastVendorDeviceType = 0xFFF0;
    const uint FirstVendorFunction = 0x800;
    const uint MaxTableEntries = 0x4000;

    /// <summary>A register that holds (code - First) / 2^Shift.</summary>
    readonly record struct Distance(uint First, int Shift);

    /// <summary>A checked switch: <see cref="Entries"/> distances are in range, and others go to <see cref="Default"/>.</summary>
    readonly record struct Switch(Distance Distance, uint Entries, uint Default);

    readonly SortedDictionary<uint, List<uint>> found = [];
    readonly Dictionary<Register, Distance> distances = [];
    readonly Dictionary<Register, uint> constants = [];
    /// <summary>Registers that hold the address of something in the image, as RVA.</summary>
    readonly Dictionary<Register, uint> pointers = [];
    (Distance Distance, uint Last)? lastCompared;
    Switch? lastSwitch;
    uint? indexTable;

    public static ImmutableArray<ControlCode> Run(PortableExecutable image)
    {
        var scan = new ControlCodeScan(image);
        foreach (ImageSection section in image.Sections)
        {
            if (!section.IsExecutable) continue;
            // What the file does not hold is zeros. Decoding starts afresh at each function, so that data between them spoils at most one.
            uint start = section.VirtualAddress, end = section.VirtualAddress + Math.Min(section.VirtualSize, section.SizeOfRawData);
            foreach (RuntimeFunction function in image.Functions)
            {
                if (function.BeginAddress <= start || function.BeginAddress >= end) continue;
                scan.Decode(start, function.BeginAddress);
                start = function.BeginAddress;
            }
            scan.Decode(start, end);
        }
        return [.. scan.found.Select(pair => new ControlCode(pair.Key, [.. pair.Value]))];
    }

    void Decode(uint start, uint end)
    {
        if (!image.Contents.Span.TrySlice(start, end - start, out ReadOnlySpan<byte> code)) return;
        Forget();
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(code.ToArray()), start);
        while (decoder.IP < end)
        {
            decoder.Decode(out Instruction instruction);
            Examine(instruction);
        }
    }

    void Examine(in Instruction instruction)
    {
        (Distance Distance, uint Last)? compared = lastCompared;
        lastCompared = null;
        Register target = instruction.Op0Kind == OpKind.Register ? instruction.Op0Register.GetFullRegister() : Register.None;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Cmp when TryGetImmediate(instruction, out uint immediate):
                Distance distance = distances.GetValueOrDefault(target);
                Add(distance.First + (immediate << distance.Shift), instruction, isCompared: true);
                if (distance.First != 0) lastCompared = (distance, immediate);
                break;
            case Mnemonic.Ja when compared is { } range && range.Last < MaxTableEntries:
                lastSwitch = new Switch(range.Distance, range.Last + 1, (uint)instruction.NearBranchTarget);
                indexTable = null;
                break;
            case Mnemonic.Sub or Mnemonic.Add when target != Register.None && TryGetImmediate(instruction, out uint immediate):
                Subtract(instruction, target, target, instruction.Mnemonic == Mnemonic.Sub ? immediate : 0 - immediate);
                break;
            // What is in memory is not loaded first, but added to the constant.
            case Mnemonic.Add when constants.TryGetValue(target, out uint constant):
                Subtract(instruction, target, Register.None, 0 - constant);
                break;
            case Mnemonic.Lea when instruction.IsIPRelativeMemoryOperand:
                Write(target);
                pointers[target] = (uint)instruction.IPRelativeMemoryAddress;
                break;
            case Mnemonic.Lea when instruction.MemoryIndex == Register.None && instruction.MemoryBase != Register.None:
                Subtract(instruction, target, instruction.MemoryBase.GetFullRegister(), 0 - (uint)instruction.MemoryDisplacement64);
                break;
            case Mnemonic.Shr or Mnemonic.Ror or Mnemonic.Rol when distances.TryGetValue(target, out Distance unshifted):
                // The lowest two bits are the method; a compiler moves them out of the way when all cases have the same.
                bool dividesByFour = instruction.Immediate8 == (instruction.Mnemonic == Mnemonic.Rol ? 30 : 2);
                Write(target);
                if (dividesByFour && unshifted.Shift == 0) distances[target] = unshifted with { Shift = 2 };
                break;
            case Mnemonic.Mov when target != Register.None && instruction.Op1Kind == OpKind.Register:
                bool copies = distances.TryGetValue(instruction.Op1Register.GetFullRegister(), out Distance copied);
                Write(target);
                if (copies) distances[target] = copied;
                break;
            case Mnemonic.Mov when target != Register.None && TryGetImmediate(instruction, out uint immediate):
                // The first argument of IoBuildDeviceIoControlRequest.
                if (instruction.Op0Register == Register.ECX) Add(immediate, instruction, isCompared: false);
                Write(target);
                constants[target] = immediate;
                break;
            case Mnemonic.Mov or Mnemonic.Movsxd or Mnemonic.Movzx
                when lastSwitch is { } jumps && pointers.TryGetValue(instruction.MemoryBase, out uint table):
                if (instruction.MemoryIndexScale == 4)
                    ReadJumpTable(instruction, jumps, table);
                else if (instruction.Mnemonic == Mnemonic.Movzx)
                    indexTable = table + (uint)instruction.MemoryDisplacement64;
                Write(target);
                break;
            case Mnemonic.Cmp or Mnemonic.Test:
                break;
            default:
                if (instruction.FlowControl is FlowControl.Next or FlowControl.ConditionalBranch) Write(target);
                else Forget();
                break;
        }
    }

    /// <summary>
    /// Entries are distances from the address that the code adds to them: the table itself (gcc, clang) or the image (MSVC, which may put
    /// a table of bytes before it that maps distances to entries). Those that lead to the default are no cases.
    /// </summary>
    void ReadJumpTable(in Instruction instruction, Switch jumps, uint origin)
    {
        ReadOnlySpan<byte> contents = image.Contents.Span;
        uint table = origin + (uint)instruction.MemoryDisplacement64;
        for (uint i = 0; i < jumps.Entries; i++)
        {
            byte mapped = 0;
            if (indexTable is { } indices && !contents.TryRead(indices + i, out mapped)) break;
            if (!contents.TryRead(table + 4UL * (indexTable is null ? i : mapped), out uint entry)) break;
            if (origin + entry != jumps.Default) Add(jumps.Distance.First + (i << jumps.Distance.Shift), instruction, isCompared: true);
        }
        lastSwitch = null;
    }

    /// <summary>Notes that <paramref name="target"/> now holds <paramref name="source"/> less a constant.</summary>
    void Subtract(in Instruction instruction, Register target, Register source, uint constant)
    {
        Distance distance = distances.GetValueOrDefault(source);
        distance = distance with { First = distance.First + (constant << distance.Shift) };
        Write(target);
        if (Add(distance.First, instruction, isCompared: true)) distances[target] = distance;
    }

    void Write(Register register)
    {
        distances.Remove(register);
        constants.Remove(register);
        pointers.Remove(register);
    }

    void Forget()
    {
        distances.Clear();
        constants.Clear();
        pointers.Clear();
        lastCompared = null;
        lastSwitch = null;
    }

    bool Add(uint value, in Instruction instruction, bool isCompared)
    {
        if (!LooksLikeControlCode(value, isCompared)) return false;
        if (!found.TryGetValue(value, out List<uint>? references)) found.Add(value, references = []);
        if (references.Count == 0 || references[^1] != (uint)instruction.IP) references.Add((uint)instruction.IP);
        return true;
    }

    /// <summary>
    /// Vendors use device types from 0x8000 and functions from 0x800, or an assigned device type with either; that leaves out status
    /// codes, small numbers, addresses and pool tags.
    /// </summary>
    static bool LooksLikeControlCode(uint value, bool isCompared)
    {
        uint deviceType = value >> 16;
        bool hasVendorFunction = (value >> 2 & 0xFFF) >= FirstVendorFunction;
        return deviceType switch
        {
            >= FirstVendorDeviceType and <= LastVendorDeviceType => isCompared && hasVendorFunction,
            > 0 and <= LastAssignedDeviceType => hasVendorFunction || (isCompared && (ushort)value != 0),
            _ => false,
        };
    }

    static bool TryGetImmediate(in Instruction instruction, out uint immediate)
    {
        bool is32Bit = instruction.Op1Kind
            is OpKind.Immediate32 or OpKind.Immediate32to64 or OpKind.Immediate8to32 or OpKind.Immediate8to64;
        immediate = is32Bit ? (uint)instruction.GetImmediate(1) : 0;
        return is32Bit;
    }
}
