using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>Guest code for the decoder; ends at the first byte that is not executable.</summary>
sealed unsafe class CodeBytes : CodeReader
{
    ulong address, pageEnd;
    byte* host;

    public void MoveTo(ulong rip)
    {
        address = rip;
        pageEnd = rip;
    }

    public override int ReadByte()
    {
        if (address >= pageEnd)
        {
            if (!GuestMemory.TryTranslate(address, 1, PageAccess.Execute, out host, out _)) return -1;
            pageEnd = (address | (GuestMemory.PageSize - 1)) + 1;
        }
        address++;
        return *host++;
    }
}
