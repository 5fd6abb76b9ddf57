using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Irpwright.Guest.Images;
using Irpwright.Wdk;
using static Irpwright.Wdk.Constants;

namespace Irpwright.Guest.Unwinding;

/// <summary>UNWIND_INFO: what a function's prolog does, and who handles exceptions in its body. Addresses are relative to the image.</summary>
readonly ref struct UnwindInfo
{
    // UWOP_*.
    public const int PushNonvolatile = 0, AllocateLarge = 1, AllocateSmall = 2, SetFrameRegister = 3, SaveNonvolatile = 4, SaveNonvolatileFar = 5;
    public const int Epilog = 6, SaveXmm = 8, SaveXmmFar = 9, PushMachineFrame = 10;

    readonly ReadOnlySpan<byte> bytes;

    UnwindInfo(ReadOnlySpan<byte> bytes, uint address)
    {
        this.bytes = bytes;
        Address = address;
    }

    public uint Address { get; }

    public uint Flags => (uint)bytes[0] >> 3;

    public bool IsChained => (Flags & UNW_FLAG_CHAININFO) != 0;

    public uint SizeOfProlog => bytes[1];

    public int CountOfCodes => bytes[2];

    /// <summary>0 for none: rax is never one.</summary>
    public int FrameRegister => bytes[3] & 15;

    public ulong FrameOffset => 16UL * (uint)(bytes[3] >> 4);

    int EndOfCodes => 4 + 2 * ((CountOfCodes + 1) & ~1);

    /// <summary>The row of the function that this one is a part of.</summary>
    public RuntimeFunction Parent => MemoryMarshal.Read<RuntimeFunction>(bytes[EndOfCodes..]);

    public uint HandlerAddress => BinaryPrimitives.ReadUInt32LittleEndian(bytes[EndOfCodes..]);

    public uint HandlerData => Address + (uint)EndOfCodes + 4;

    public ReadOnlySpan<byte> Code(int index) => bytes.Slice(4 + 2 * index);

    public static int SlotsOf(int operation, int argument) => operation switch
    {
        AllocateLarge => argument == 0 ? 2 : 3,
        SaveNonvolatile or Epilog or SaveXmm => 2,
        SaveNonvolatileFar or 7 or SaveXmmFar => 3,
        _ => 1,
    };

    /// <summary>Whether the prolog has set the frame register when it has come to an offset.</summary>
    public bool SetsFrameRegisterBefore(uint offset)
    {
        for (int i = 0; i < CountOfCodes; i += SlotsOf(Code(i)[1] & 15, Code(i)[1] >> 4))
        {
            if ((Code(i)[1] & 15) == SetFrameRegister) return Code(i)[0] <= offset;
        }
        return false;
    }

    /// <summary>Reads a row's information; false if it does not lie in the image whole.</summary>
    public static bool TryRead(DriverImage image, RuntimeFunction function, out UnwindInfo info)
    {
        info = default;
        if (function.UnwindInfoAddress >= image.File.SizeOfImage) return false;
        var found = new UnwindInfo(image.File.Contents.Span[(int)function.UnwindInfoAddress..], function.UnwindInfoAddress);
        if (found.bytes.Length < 4) return false;
        int behind = found.IsChained ? 12 : (found.Flags & (UNW_FLAG_EHANDLER | UNW_FLAG_UHANDLER)) != 0 ? 4 : 0;
        if (found.bytes.Length < found.EndOfCodes + behind) return false;
        info = found;
        return true;
    }

    /// <summary>The row of the function that a row, which may be for a part of it, belongs to.</summary>
    public static RuntimeFunction PrimaryOf(DriverImage image, RuntimeFunction function)
    {
        for (int i = 0; i < 32 && TryRead(image, function, out UnwindInfo info) && info.IsChained; i++) function = info.Parent;
        return function;
    }
}
