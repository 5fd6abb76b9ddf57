using System.Runtime.InteropServices;
using System.Text;

namespace Irpwright.Guest.Images;

/// <summary>Which PDB file belongs to the image, from the CodeView entry of the debug directory.</summary>
/// <param name="Path">As the linker wrote it: often a path on the build machine.</param>
public sealed record CodeViewRecord(string Path, Guid Signature, uint Age)
{
    const uint CodeViewType = 2;
    const uint RsdsSignature = 0x53445352; // RSDS
    const int MaxPathLength = 1024;

    internal static CodeViewRecord? Read(MappedImage image)
    {
        if (!image.TryGetDirectory(ImageDirectory.Debug, out IMAGE_DATA_DIRECTORY directory)) return null;
        image.Contents.TrySlice(directory.VirtualAddress, directory.Size, out ReadOnlySpan<byte> table);
        for (ulong at = 0; table.TryRead(at, out IMAGE_DEBUG_DIRECTORY entry); at += 28)
        {
            if (entry.Type != CodeViewType || entry.AddressOfRawData == 0
                || !image.Contents.TrySlice(entry.AddressOfRawData, entry.SizeOfData, out ReadOnlySpan<byte> data)
                || !data.TryRead(0, out uint signature) || signature != RsdsSignature
                || !data.TryRead(4, out Guid guid) || !data.TryRead(20, out uint age)
                || !data.TryReadName(24, MaxPathLength, out string path))
                continue;
            return new CodeViewRecord(path, guid, age);
        }
        return null;
    }
}
