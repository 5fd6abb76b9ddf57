using System.Buffers.Binary;
using Irpwright.Guest.Images;
using Irpwright.Wdk;

namespace Irpwright.Guest.Unwinding;

/// <summary>Walks from a compiled frame to its caller by the image's exception table.</summary>
/// <remarks>
/// A function without a row is a leaf: its return address is on top of the stack. What the table does not tell (a fault inside an
/// epilog) is not guessed.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/cpp/build/exception-handling-x64"/>
ref struct StackUnwinder
{
    const int FlagChained = 4;

    readonly Func<ulong, DriverImage?> imageAt;
    readonly Span<ulong> gpr;

    /// <param name="imageAt">The image that holds an address.</param>
    /// <param name="gpr">Registers at <paramref name="rip"/> in encoding order; the walk restores what functions saved.</param>
    public StackUnwinder(Func<ulong, DriverImage?> imageAt, ulong rip, Span<ulong> gpr)
    {
        this.imageAt = imageAt;
        this.gpr = gpr;
        Rip = rip;
    }

    public ulong Rip { get; private set; }

    public ulong Rsp
    {
        readonly get => gpr[4];
        set => gpr[4] = value;
    }

    /// <summary>Goes to the caller.</summary>
    /// <returns>False where the stack or the table cannot be read.</returns>
    public bool Unwind()
    {
        if (imageAt(Rip) is { } image && image.File.FunctionAt((uint)(Rip - image.Base)) is { } function && !Undo(image, function))
            return false;
        if (!TryRead(Rsp, out ulong caller)) return false;
        Rip = caller;
        Rsp += 8;
        return true;
    }

    /// <summary>Goes on where the kernel was called from, before it called back into the guest.</summary>
    public void Resume(ulong rip, ulong rsp)
    {
        Rip = rip;
        Rsp = rsp;
    }

    // Undoes the part of the prolog that has been executed, last instruction first, then that of the function it is chained to.
    bool Undo(DriverImage image, RuntimeFunction function)
    {
        uint executed = (uint)(Rip - image.Base) - function.BeginAddress;
        for (int chained = 0; chained < 32; chained++)
        {
            ReadOnlySpan<byte> information = image.File.Contents.Span[(int)function.UnwindInfoAddress..];
            if (information.Length < 4) return false;
            int codes = information[2];
            int size = 4 + 2 * ((codes + 1) & ~1);
            if (information.Length < size + 12 && (information[0] >> 3 & FlagChained) != 0 || information.Length < size) return false;
            if (!Undo(information[..size], codes, executed)) return false;
            if ((information[0] >> 3 & FlagChained) == 0) return true;
            ReadOnlySpan<byte> parent = information[size..];
            function = new RuntimeFunction(
                BinaryPrimitives.ReadUInt32LittleEndian(parent), BinaryPrimitives.ReadUInt32LittleEndian(parent[4..]), BinaryPrimitives.ReadUInt32LittleEndian(parent[8..]));
            if (function.UnwindInfoAddress >= image.File.SizeOfImage) return false;
            executed = uint.MaxValue;
        }
        return false;
    }

    readonly bool Undo(ReadOnlySpan<byte> information, int codes, uint executed)
    {
        int frameRegister = information[3] & 15;
        ulong frameOffset = 16UL * (uint)(information[3] >> 4);
        for (int i = 0; i < codes;)
        {
            ReadOnlySpan<byte> code = information[(4 + 2 * i)..];
            int operation = code[1] & 15, argument = code[1] >> 4;
            int slots = operation switch { 1 => argument == 0 ? 2 : 3, 4 or 6 or 8 => 2, 5 or 9 => 3, _ => 1 };
            if (i + slots > codes) return false;
            i += slots;
            if (code[0] > executed) continue;
            switch (operation)
            {
                case 0: // UWOP_PUSH_NONVOL
                    if (!TryRead(gpr[4], out gpr[argument])) return false;
                    gpr[4] += 8;
                    break;
                case 1: // UWOP_ALLOC_LARGE
                    gpr[4] += argument == 0 ? 8UL * BinaryPrimitives.ReadUInt16LittleEndian(code[2..]) : BinaryPrimitives.ReadUInt32LittleEndian(code[2..]);
                    break;
                case 2: // UWOP_ALLOC_SMALL
                    gpr[4] += 8UL * (uint)argument + 8;
                    break;
                case 3: // UWOP_SET_FPREG
                    gpr[4] = gpr[frameRegister] - frameOffset;
                    break;
                case 4: // UWOP_SAVE_NONVOL
                    if (!TryRead(Base(frameRegister, frameOffset) + 8UL * BinaryPrimitives.ReadUInt16LittleEndian(code[2..]), out gpr[argument])) return false;
                    break;
                case 5: // UWOP_SAVE_NONVOL_FAR
                    if (!TryRead(Base(frameRegister, frameOffset) + BinaryPrimitives.ReadUInt32LittleEndian(code[2..]), out gpr[argument])) return false;
                    break;
                case 6 or 8 or 9: // epilog hints and xmm registers: nothing that the walk needs
                    break;
                default:
                    return false;
            }
        }
        return true;
    }

    readonly ulong Base(int frameRegister, ulong frameOffset) => frameRegister != 0 ? gpr[frameRegister] - frameOffset : gpr[4];

    static unsafe bool TryRead(ulong address, out ulong value)
    {
        value = 0;
        if (!GuestMemory.TryTranslate(address, 8, PageAccess.Read, out byte* host, out _)) return false;
        value = *(ulong*)host;
        return true;
    }
}
