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

    public string Method => (Value & 3) switch { 0 => "METHOD_BUFFERED", 1 => "METHOD_IN_DIRECT", 2 => "METHOD_OUT_DIRECT", _ => "METHOD_NEITHER" };
}

/// <summary>
/// Finds the control codes that a driver compares with: directly, or the way compilers translate a switch, by subtracting the first code
/// and then the distances to the others.
/// </summary>
/// <remarks>A heuristic: it decodes without following control flow, and a number is not marked as a control code anywhere.</remarks>
sealed class ControlCodeScan
{
    /// <summary>Highest device type that Microsoft has assigned in devioctl.h and its successors, with room for some more.</summary>
    const uint LastAssignedDeviceType = 0x6F;
    const uint FirstVendorDeviceType = 0x8000, LastVendorDeviceType = 0xFFF0;
    const uint FirstVendorFunction = 0x800;

    readonly SortedDictionary<uint, List<uint>> _found = [];
    /// <summary>By register: what was subtracted from the value that it held. Such a register is zero when the value was that number.</summary>
    readonly Dictionary<Register, uint> _subtracted = [];

    public static ImmutableArray<ControlCode> Run(PortableExecutable image)
    {
        var scan = new ControlCodeScan();
        foreach (ImageSection section in image.Sections)
        {
            if (!section.IsExecutable) continue;
            // What the file does not hold is zeros. Decoding starts afresh at each function, so that data between them cannot spoil more than one.
            uint start = section.VirtualAddress, end = section.VirtualAddress + Math.Min(section.VirtualSize, section.SizeOfRawData);
            foreach (RuntimeFunction function in image.Functions)
            {
                if (function.BeginAddress <= start || function.BeginAddress >= end) continue;
                scan.Decode(image, start, function.BeginAddress);
                start = function.BeginAddress;
            }
            scan.Decode(image, start, end);
        }
        return [.. scan._found.Select(pair => new ControlCode(pair.Key, [.. pair.Value]))];
    }

    void Decode(PortableExecutable image, uint start, uint end)
    {
        if (!image.Contents.Span.TrySlice(start, end - start, out ReadOnlySpan<byte> code)) return;
        _subtracted.Clear();
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(code.ToArray()), start);
        while (decoder.IP < end)
        {
            decoder.Decode(out Instruction instruction);
            Examine(instruction);
        }
    }

    void Examine(in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Cmp when TryGetImmediate(instruction, out uint immediate):
                uint before = instruction.Op0Kind == OpKind.Register ? Subtracted(instruction.Op0Register) : 0;
                Add(before + immediate, instruction, isCompared: true);
                break;
            case Mnemonic.Sub or Mnemonic.Add when instruction.Op0Kind == OpKind.Register && TryGetImmediate(instruction, out uint immediate):
                Subtract(instruction, instruction.Op0Register, instruction.Op0Register, instruction.Mnemonic == Mnemonic.Sub ? immediate : 0 - immediate);
                break;
            case Mnemonic.Lea when instruction.MemoryIndex == Register.None && instruction.MemoryBase is not (Register.None or Register.RIP):
                Subtract(instruction, instruction.Op0Register, instruction.MemoryBase, 0 - (uint)instruction.MemoryDisplacement64);
                break;
            case Mnemonic.Mov when instruction.Op0Kind == OpKind.Register && instruction.Op1Kind == OpKind.Register:
                Track(instruction.Op0Register, Subtracted(instruction.Op1Register));
                break;
            case Mnemonic.Mov when instruction.Op0Register is Register.ECX && TryGetImmediate(instruction, out uint immediate):
                // The first argument of IoBuildDeviceIoControlRequest.
                Add(immediate, instruction, isCompared: false);
                Track(Register.ECX, 0);
                break;
            case Mnemonic.Cmp or Mnemonic.Test:
                break;
            default:
                if (instruction.FlowControl is FlowControl.Next or FlowControl.ConditionalBranch)
                {
                    if (instruction.Op0Kind == OpKind.Register) Track(instruction.Op0Register, 0);
                }
                else
                {
                    _subtracted.Clear();
                }
                break;
        }
    }

    /// <summary>Notes that <paramref name="target"/> now holds <paramref name="source"/> less a constant.</summary>
    void Subtract(in Instruction instruction, Register target, Register source, uint constant)
    {
        uint total = Subtracted(source) + constant;
        Track(target, Add(total, instruction, isCompared: true) ? total : 0);
    }

    uint Subtracted(Register register) => _subtracted.GetValueOrDefault(register.GetFullRegister());

    void Track(Register register, uint subtracted)
    {
        if (subtracted == 0) _subtracted.Remove(register.GetFullRegister());
        else _subtracted[register.GetFullRegister()] = subtracted;
    }

    bool Add(uint value, in Instruction instruction, bool isCompared)
    {
        if (!LooksLikeControlCode(value, isCompared)) return false;
        if (!_found.TryGetValue(value, out List<uint>? references)) _found.Add(value, references = []);
        references.Add((uint)instruction.IP);
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
        bool is32Bit = instruction.Op1Kind is OpKind.Immediate32 or OpKind.Immediate32to64 or OpKind.Immediate8to32 or OpKind.Immediate8to64;
        immediate = is32Bit ? (uint)instruction.GetImmediate(1) : 0;
        return is32Bit;
    }
}
