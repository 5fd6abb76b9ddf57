using System.Collections.Immutable;
using System.Runtime.InteropServices;

namespace Irpwright.Guest.Images;

/// <summary>
/// A row of the exception table (RUNTIME_FUNCTION): RVAs of a function's first byte, of the byte behind it, and of its UNWIND_INFO.
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
public readonly record struct RuntimeFunction(uint BeginAddress, uint EndAddress, uint UnwindInfoAddress)
{
    public bool Contains(uint rva) => rva - BeginAddress < EndAddress - BeginAddress;
}

static class ExceptionTable
{
    public static ImmutableArray<RuntimeFunction> Read(MappedImage image, out IMAGE_DATA_DIRECTORY directory)
    {
        if (!image.TryGetDirectory(ImageDirectory.Exception, out directory))
        {
            directory = default;
            return [];
        }
        var found = ImmutableArray.CreateBuilder<RuntimeFunction>((int)(directory.Size / 12));
        image.Contents.TrySlice(directory.VirtualAddress, directory.Size, out ReadOnlySpan<byte> table);
        bool damaged = directory.Size % 12 != 0;
        uint size = (uint)image.Contents.Length;
        uint end = 0;
        bool sorted = true;
        for (ulong at = 0; table.TryRead(at, out RuntimeFunction function); at += 12)
        {
            // Linkers that reserve more rows than they fill leave zeros behind.
            if (function == default) continue;
            if (function.BeginAddress >= function.EndAddress || function.EndAddress > size || function.UnwindInfoAddress >= size)
            {
                damaged = true;
                continue;
            }
            sorted &= function.BeginAddress >= end;
            end = function.EndAddress;
            found.Add(function);
        }
        if (!sorted) found.Sort((a, b) => a.BeginAddress.CompareTo(b.BeginAddress));
        if (damaged || !sorted)
        {
            image.Diagnostics.Warn(ImageProblem.BadDirectory, MappedImage.Place(ImageDirectory.Exception),
                damaged
                    ? "has rows outside the image, which are ignored"
                    : "is not sorted or its rows overlap: Windows would miss handlers that are found here");
        }
        return found.ToImmutable();
    }

    /// <summary>Index of the last row that begins at or before <paramref name="rva"/>; -1 when none does.</summary>
    public static int FloorIndex(ImmutableArray<RuntimeFunction> functions, uint rva)
    {
        int low = 0, high = functions.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (functions[middle].BeginAddress <= rva) low = middle + 1;
            else high = middle;
        }
        return low - 1;
    }
}
