using System.Buffers.Binary;
using Irpwright.Guest.Images;
using Irpwright.Wdk;

namespace Irpwright.Guest.Unwinding;

/// <summary>
/// The instructions that may end a function: <c>add rsp</c> or <c>lea rsp,[frame register]</c> once, pops, then a return or a jump that
/// leaves the function.
/// </summary>
/// <seealso href="https://learn.microsoft.com/cpp/build/prolog-and-epilog"/>
static class Epilog
{
    /// <summary>If rip is in an epilog, carries out the rest of it.</summary>
    public static bool TryFinish(DriverImage image, RuntimeFunction function, UnwindInfo info, ref CONTEXT context, PKNONVOLATILE_CONTEXT_POINTERS saved)
    {
        uint rva = (uint)(context.Rip - image.Base);
        ReadOnlySpan<byte> code = image.File.Contents.Span[(int)rva..(int)Math.Min(function.EndAddress, image.File.SizeOfImage)];
        ulong rsp = context.Rsp;
        int at = SizeOfRelease(code, info, ref context, ref rsp);
        int firstPop = at;
        while (PopAt(code[at..], out int size) >= 0) at += size;
        if (!EndsFunction(code[at..], image, function, rva + (uint)at)) return false;
        context.Rsp = rsp;
        for (at = firstPop; PopAt(code[at..], out int size) is >= 0 and int register; at += size)
        {
            ulong from = context.Rsp;
            context.Rsp += 8;
            if (!FrameUnwinder.Restore(ref context, register, from, saved)) return false;
        }
        return FrameUnwinder.TryLeaveLeaf(ref context);
    }

    /// <summary>Bytes of the instruction that frees the local variables, 0 if it has been executed or there is none.</summary>
    static int SizeOfRelease(ReadOnlySpan<byte> code, UnwindInfo info, ref CONTEXT context, ref ulong rsp)
    {
        switch (code)
        {
            case [0x48, 0x83, 0xC4, var size, ..]: // add rsp,imm8
                rsp += (ulong)(sbyte)size;
                return 4;
            case [0x48, 0x81, 0xC4, _, _, _, _, ..]: // add rsp,imm32
                rsp += (ulong)BinaryPrimitives.ReadInt32LittleEndian(code[3..]);
                return 7;
        }
        int frame = info.FrameRegister;
        // lea rsp,[frame register + displacement]; r12 takes another byte.
        if (frame == 0 || code.Length < 4 || code[0] != (frame < 8 ? 0x48 : 0x49) || code[1] != 0x8D || (code[2] & 0x3F) != (0x20 | frame & 7)) return 0;
        int at = 3;
        if ((frame & 7) == 4 && code[at++] != 0x24) return 0;
        ulong @base = FrameUnwinder.Gpr(ref context, frame);
        switch (code[2] >> 6)
        {
            case 0 when (frame & 7) != 5:
                rsp = @base;
                return at;
            case 1 when code.Length > at:
                rsp = @base + (ulong)(sbyte)code[at];
                return at + 1;
            case 2 when code.Length >= at + 4:
                rsp = @base + (ulong)BinaryPrimitives.ReadInt32LittleEndian(code[at..]);
                return at + 4;
            default:
                return 0;
        }
    }

    /// <summary>The register that an instruction pops, -1 if it is no such instruction.</summary>
    static int PopAt(ReadOnlySpan<byte> code, out int size)
    {
        size = 0;
        switch (code)
        {
            case [>= 0x58 and <= 0x5F, ..]:
                size = 1;
                return code[0] - 0x58;
            case [0x41, >= 0x58 and <= 0x5F, ..]:
                size = 2;
                return code[1] - 0x58 + 8;
            default:
                return -1;
        }
    }

    static bool EndsFunction(ReadOnlySpan<byte> code, DriverImage image, RuntimeFunction function, uint rva) => code switch
    {
        [0xC3, ..] or [0xC2, ..] or [0xF3, 0xC3, ..] => true, // ret
        [0xEB, var distance, ..] => Leaves(image, function, rva + 2 + (uint)(sbyte)distance),
        [0xE9, _, _, _, _, ..] => Leaves(image, function, rva + 5 + (uint)BinaryPrimitives.ReadInt32LittleEndian(code[1..])),
        [0xFF, 0x25, ..] => true, // jmp [import]
        [>= 0x48 and <= 0x4F, 0xFF, var form, ..] => (form & 0x38) == 0x20, // jmp r/m64
        _ => false,
    };

    /// <summary>Whether a jump goes to another function, or calls this one anew; not to another part of this one.</summary>
    static bool Leaves(DriverImage image, RuntimeFunction function, uint target)
    {
        RuntimeFunction primary = UnwindInfo.PrimaryOf(image, function);
        if (target == primary.BeginAddress) return true;
        if (function.Contains(target)) return false;
        return image.File.FunctionAt(target) is not { } other || UnwindInfo.PrimaryOf(image, other) != primary;
    }
}
